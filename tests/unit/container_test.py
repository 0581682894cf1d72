# SPDX-License-Identifier: Apache-2.0
"""deploy/container: the packages of each final stage are those that its programs need, no less and no more.
Whether the programs run with them alone is deploy/container/check's to say, by hand: its first run takes minutes."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTAINER = ROOT / "deploy" / "container"
BUILD = ROOT / "build" / "release" / "controlplane"
SLUICECTL = BUILD / "cli" / "sluicectl"
PROGRAMS = {"sluice-k8s": [BUILD / "kubernetes" / "sluice-k8s", SLUICECTL], "sluiced": [BUILD / "sluiced", SLUICECTL]}
# In every Debian, the smallest one too.
BASE = {"libc6", "libgcc-s1", "libstdc++6"}
# Found at run time: certificates by libcurl, drivers and packet buffers' keeper by DPDK, nft by sluiced.
FOUND_AT_RUN_TIME = {"sluice-k8s": {"ca-certificates"}, "sluiced": {"librte-meta-net", "librte-mempool-ring23", "nftables"}}


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def listed(stage):
    return set(output(CONTAINER / "stage-packages", stage).split())


def packages_of(libraries):
    """Debian packages that bring these files, under their old names or, since /lib is /usr/lib, their new ones."""
    files = {str(pathlib.Path(library).resolve()).removeprefix("/usr") for library in libraries}
    both = [prefix + file for file in sorted(files) for prefix in ("", "/usr")]
    found = subprocess.run(["dpkg-query", "-S", *both], capture_output=True, text=True, check=False).stdout
    owners = {line.rsplit(": ", 1)[1].removeprefix("/usr"): line.split(":")[0] for line in found.splitlines()}
    assert files <= owners.keys(), f"of no package: {files - owners.keys()}"
    return {owners[file] for file in files}


def loaded(program):
    """{name: path} of every library that it runs with."""
    return dict(re.findall(r"^\s*(\S+) => (/\S+)", output("ldd", program), re.M))


def asked_for(program):
    """Names of libraries that the program itself asks for."""
    return set(re.findall(r"NEEDED\).*\[(.*)\]", output("readelf", "-d", program)))


def with_dependencies(packages):
    """What apt installs for them, without recommendations."""
    depends = {}
    for line in output("dpkg-query", "-W", "-f", "${Package}\t${Pre-Depends}, ${Depends}\n").splitlines():
        name, relations = line.split("\t")
        depends[name] = set(re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]*)", relations))
    closed, left = set(), set(packages)
    while left:
        package = left.pop()
        closed.add(package)
        left |= depends.get(package, set()) - closed
    return closed


@pytest.mark.parametrize("stage", PROGRAMS)
def test_every_library_of_the_programs_is_in_the_image(stage):
    needed = set().union(*(packages_of(loaded(program).values()) for program in PROGRAMS[stage]))
    assert needed - with_dependencies(listed(stage)) - BASE == set()


@pytest.mark.parametrize("stage", PROGRAMS)
def test_the_list_is_what_the_programs_ask_for_by_name(stage):
    direct = set()
    for program in PROGRAMS[stage]:
        paths = loaded(program)
        direct |= packages_of(paths[name] for name in asked_for(program) if name in paths)
    assert listed(stage) - FOUND_AT_RUN_TIME[stage] == direct - BASE


def test_the_gateway_has_the_port_drivers_of_the_examples():
    drivers = {f"librte-net-{name}" for name in
               ("af-packet23", "af-xdp23", "bond23", "i40e23", "ice23", "ixgbe23", "memif23", "mlx5-23", "virtio23")}
    assert drivers <= with_dependencies(listed("sluiced"))


def test_the_build_stage_installs_from_the_one_list_what_cmake_looks_for(tmp_path):
    words = re.search(r"^RUN sed -i (.*) deploy/packages\.txt", (CONTAINER / "Containerfile").read_text(), re.M)[1]
    kept = output("sh", "-c", f"sed {words} {ROOT}/deploy/packages.txt")
    packages = {line.split()[0] for line in kept.splitlines() if line.strip() and not line.startswith("#")}
    whole = {line.split()[0] for line in (ROOT / "deploy/packages.txt").read_text().splitlines()
             if line.strip() and not line.startswith("#")}
    assert {"g++", "cmake", "ninja-build", "libdpdk-dev", "libgtest-dev", "libbenchmark-dev"} <= packages <= whole
    assert not {package for package in packages if "clang" in package or "python" in package}
    assert {package for package in whole if package.endswith("-dev") and "clang" not in package} - packages <= {"dpdk-dev"}


def test_programs_come_from_where_the_build_puts_them():
    text = (CONTAINER / "Containerfile").read_text()
    for program in (each for programs in PROGRAMS.values() for each in programs):
        assert f"build/release/{program.relative_to(ROOT / 'build' / 'release')}" in text
