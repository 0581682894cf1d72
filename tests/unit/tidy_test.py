# SPDX-License-Identifier: Apache-2.0
"""What the tree promises about itself: who includes whom, what a folder may not say, and that the
lists kept in several places are equal. `make test` runs it after the release build.

SLUICE_BUILD names another build directory than build/release.
"""

import ast
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SLUICE_BUILD", "build/release")
OURS = ("dataplane", "controlplane", "proto", "bench", "tests", "deploy", "cmake", ".ci")

# DESIGN section 2. A room may include itself and what is listed: rooms, or single headers.
DATAPLANE = {"net", "snapshot", "state", "stages", "lcore"}
MAY_INCLUDE = {
    "net": set(),
    "snapshot": {"net"},
    "state": {"net", "snapshot"},
    "stages": {"net", "snapshot", "state"},
    "lcore": DATAPLANE,
    "model": {"net", "snapshot"},
    "runtime": {
        "model", "net", "snapshot",
        # The one door to DPDK and the values that pass it.
        "dataplane/lcore/dataplane.h", "dataplane/lcore/host_device.h",
        "dataplane/stages/query.h", "dataplane/state/counters.h", "dataplane/state/drop.h",
    },
    # `net`: the words that the values of model and runtime are made of. Nothing of lcore or
    # stages: that goes through runtime.
    "api": {"model", "runtime", "pb", "net", "dataplane/state/counters.h",
            "dataplane/state/drop.h"},
    "manifest": {"pb"},
    "client": {"pb"},
    "cli": {"client", "manifest", "model", "pb"},
    "process": {"manifest", "model"},
    "kubernetes": {"client", "manifest", "model", "net", "pb", "process"},
    # Wiring: all of the control plane, and the door.
    "main": {"model", "runtime", "api", "manifest", "pb", "net", "process",
             "dataplane/lcore/dataplane.h"},
}
# Other people's headers that not everyone may include: which, and who may.
LIMITED_HEADERS = {
    r"rte_mbuf\.h": {"lcore", "stages"},
    r"rte_": {"lcore"},
    r"(grpc|grpcpp|google)/": {"api", "client", "cli", "manifest", "kubernetes", "main"},
    r"yaml-cpp/": {"manifest", "kubernetes"},
    r"CLI/": {"cli", "main", "kubernetes"},
    r"netlink/": {"runtime", "lcore"},
    r"spdlog/": {"runtime", "api", "main", "kubernetes", "process"},
    r"curl/": {"kubernetes"},
    r"fmt/": set(MAY_INCLUDE) - DATAPLANE,
}

# Each lock-free word is a decision of its own: who writes it, who reads it.
ATOMICS_ALLOWED = {
    "dataplane/state/counters.h": "one writer, relaxed readers",
    "dataplane/state/quotas.h": "credits that lcores share, taken when a flow opens",
    "dataplane/state/quotas.cpp": "credits that lcores share, taken when a flow opens",
    "dataplane/lcore/rcu.h": "the snapshot pointer",
    "dataplane/lcore/rcu.cpp": "the snapshot pointer",
    "dataplane/lcore/command.h": "a command's answer is complete",
    "dataplane/lcore/command.cpp": "a command's answer is complete",
    "dataplane/lcore/punt.h": "stop flag of the punt thread",
    "dataplane/lcore/punt.cpp": "stop flag of the punt thread",
    "dataplane/lcore/worker.h": "stop flag of an lcore",
    "dataplane/lcore/worker.cpp": "stop flag of an lcore",
    "controlplane/runtime/netlink.cpp": "stop flag of the netlink thread",
    "controlplane/api/gateway_service.h": "streams in progress, and their stop flag",
    "controlplane/runtime/tcp_connection.h": "one thread ends it for both",
    "controlplane/kubernetes/http.h": "stop flag of a reflector's thread, looked at by curl",
    "controlplane/kubernetes/http.cpp": "stop flag of a reflector's thread, looked at by curl",
    "controlplane/kubernetes/credentials.h": "the same, looked at while a plugin is waited for",
    "controlplane/kubernetes/credentials.cpp": "the same, looked at while a plugin is waited for",
    "controlplane/kubernetes/reflector.h": "that flag, and counters with one writer",
    "controlplane/kubernetes/leader_election.h": "stop flag of its requests",
    "controlplane/kubernetes/cluster_writer.h": "stop flag of its requests",
    "controlplane/kubernetes/controller.h": "stop flag of its thread and of its requests",
    "controlplane/kubernetes/cluster_state.h": "each kind's `synced` and `wants_list`, and a counter",
}
ATOMIC = re.compile(r"\batomic|__atomic_|__sync_|\brte_(atomic|smp_)|memory_order|\bvolatile\b")
BANNED_ON_THE_PACKET_PATH = re.compile(
    r"\w*printf|LOG\w*|\bnew\b|\w*malloc|std::function|\bthrow\b")

NO_SPDX = {"LICENSE", ".gitignore"}  # besides the suffixes, whose formats have no comments
NO_SPDX_SUFFIXES = {".md", ".json", ".pyc"}
FILE_LINES = 450
FUNCTION_LINES = 70


def files(*suffixes, under=OURS):
    found = []
    for folder in under:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                if not suffixes or path.suffix in suffixes:
                    found.append(path)
    return found


def name(path):
    return path.relative_to(ROOT).as_posix()


LITERAL_OR_COMMENT = re.compile(
    r'R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![\w])'(?:\\.|[^'\\\n])+'"  # not the one in 1'000
    r"|//[^\n]*|/\*.*?\*/",
    re.DOTALL,
)


def code_of(path):
    """The C++ without comments and literals; lines keep their numbers."""
    return LITERAL_OR_COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()),
                                  path.read_text())


def faults_at(pattern, path):
    lines = enumerate(code_of(path).splitlines(), 1)
    return [f"{name(path)}:{number}: {match.group()}"
            for number, line in lines if (match := pattern.search(line))]


def report(faults):
    assert not faults, "\n" + "\n".join(faults)


# ---- includes

def room_of(path):
    """The room a path from the root belongs to; None for tests and benches, which may do all."""
    parts = path.split("/")
    if path.endswith(".pb.h"):
        return "pb"
    if path == "controlplane/main.cpp":
        return "main"
    return parts[1] if parts[0] in ("dataplane", "controlplane") and len(parts) > 2 else None


def includes_of(path):
    return re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(), re.MULTILINE)


def include_fault(room, bracket, header):
    """Why a file of this room may not include this header; None when it may."""
    if bracket == "<":
        for pattern, rooms in LIMITED_HEADERS.items():
            if re.match(pattern, header):
                return None if room in rooms else "not for this room"
        return None
    if not header.endswith(".pb.h") and not (ROOT / header).is_file():
        return "not a path from the root"
    other = room_of(header)
    if room == other and room is not None:
        return None
    allowed = MAY_INCLUDE[room]
    return None if other in allowed or header in allowed else "not for this room"


def test_rooms_include_only_what_the_table_allows():
    faults = []
    for path in files(".h", ".cpp", under=("dataplane", "controlplane")):
        room = room_of(name(path))
        if room not in MAY_INCLUDE:
            faults.append(f"{name(path)}: no such room in the table of this test")
            continue
        for bracket, header in includes_of(path):
            fault = include_fault(room, bracket, header)
            if fault:
                faults.append(f"{name(path)}: {room} includes {header}: {fault}")
    report(faults)


def test_tests_and_benches_include_from_the_root():
    report([f"{name(path)}: {header}: not a path from the root"
            for path in files(".h", ".cpp", under=("tests", "bench"))
            for bracket, header in includes_of(path)
            if bracket == '"' and not header.endswith(".pb.h") and not (ROOT / header).is_file()])


def test_generated_headers_stay_at_the_edge():
    edge = re.compile(r"controlplane/(main\.cpp$|(api|client|cli|manifest|kubernetes)/)")
    report([f"{name(path)}: {header}"
            for path in files(".h", ".cpp", under=("dataplane", "controlplane"))
            if not edge.match(name(path))
            for _, header in includes_of(path) if header.endswith(".pb.h")])


# ---- headers compile alone

def compile_commands():
    path = BUILD / "compile_commands.json"
    assert path.is_file(), f"{path} is missing: build first (make build), or set SLUICE_BUILD"
    return json.loads(path.read_text())


def our_commands():
    commands = {}
    for entry in compile_commands():
        path = pathlib.Path(entry["file"])
        if path.is_relative_to(ROOT) and name(path).split("/")[0] in OURS:
            commands[path] = entry
    return commands


def flags_of(entry):
    """The compiler and its options, without the launcher, the input and the outputs."""
    words = shlex.split(entry["command"])
    if pathlib.Path(words[0]).name == "ccache":
        words = words[1:]
    flags, skip = [], False
    for word in words:
        if skip or word in ("-c", "-MD", entry["file"]):
            skip = False
        elif word in ("-o", "-MT", "-MF"):
            skip = True
        else:
            flags.append(word)
    return flags


def flags_for(header, commands):
    """As its .cpp is compiled, else its folder, else the next folder up."""
    if header.with_suffix(".cpp") in commands:
        return flags_of(commands[header.with_suffix(".cpp")])
    for folder in header.parents:
        for path in sorted(commands):
            if path.is_relative_to(folder):
                return flags_of(commands[path])
    raise AssertionError(f"no compile command for {header}")


def digest_of(header, flags):
    """Over all that decides the outcome, system headers apart."""
    digest = hashlib.sha256(shlex.join(flags).encode())
    seen, todo = set(), [header]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        digest.update(path.as_posix().encode() + path.read_bytes())
        for _, included in includes_of(path):
            todo += [at for at in (ROOT / included, BUILD / "proto" / included) if at.is_file()]
    return digest.hexdigest()


def compile_alone(header, flags):
    """What the compiler says, or an empty string."""
    mark = BUILD / "tidy" / digest_of(header, flags)
    if mark.is_file():
        return ""
    run = subprocess.run([*flags, "-fsyntax-only", "-x", "c++", "-"],
                         input=f'#include "{name(header)}"\n', cwd=BUILD, text=True,
                         capture_output=True, check=False)
    if run.returncode == 0:
        mark.touch()
        return ""
    return f"{name(header)} does not compile alone:\n" + "\n".join(run.stderr.splitlines()[:8])


def opens_its_own_source(header, commands):
    """Its .cpp is in the build and includes it before all else: the build is the proof."""
    source = header.with_suffix(".cpp")
    return source in commands and includes_of(source)[:1] == [('"', name(header))]


def test_each_header_compiles_alone():
    (BUILD / "tidy").mkdir(exist_ok=True)
    commands = our_commands()
    headers = [header
               for header in files(".h", under=("dataplane", "controlplane", "tests", "bench"))
               if not opens_its_own_source(header, commands)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        report([said for said in pool.map(
            lambda header: compile_alone(header, flags_for(header, commands)), headers) if said])


# ---- the -march trap

def test_every_file_is_built_for_the_chosen_instruction_set():
    cache = (BUILD / "CMakeCache.txt").read_text()
    march = re.search(r"^SLUICE_MARCH:\w+=(.+)$", cache, re.MULTILINE).group(1)
    commands = our_commands()
    assert len(commands) > 20, "the compile commands are of another tree"
    faults = []
    for path, entry in commands.items():
        # All of them, not only one: the last wins, and libdpdk.pc brings its own.
        found = re.findall(r"(?<=\s-march=)\S+", entry["command"])
        if not found or set(found) != {march}:
            faults.append(f"{name(path)}: -march is {found}, want {march}")
    faults += [f"{entry['file']}: -march=corei7" for entry in compile_commands()
               if "-march=corei7" in entry["command"]]
    report(faults)


# ---- words

def test_nothing_on_the_packet_path_allocates_logs_or_throws():
    report([fault for path in files(".h", ".cpp", under=("dataplane/stages", "dataplane/state"))
            for fault in faults_at(BANNED_ON_THE_PACKET_PATH, path)])


def test_atomics_are_where_they_are_listed():
    faults = [fault for path in files(".h", ".cpp", under=("dataplane", "controlplane"))
              if name(path) not in ATOMICS_ALLOWED for fault in faults_at(ATOMIC, path)]
    faults += [f"{path}: listed, but not there" for path in ATOMICS_ALLOWED
               if not (ROOT / path).is_file()]
    report(faults)


def test_each_file_names_its_licence():
    top = [path for path in sorted(ROOT.iterdir()) if path.is_file() and path.name != ".git"]
    report([name(path) for path in top + files()
            if path.name not in NO_SPDX and path.suffix not in NO_SPDX_SUFFIXES
            and not any("SPDX-License-Identifier: Apache-2.0" in line
                        for line in path.read_text().splitlines()[:3])])


# ---- lists that are kept in several places

def stage_order():
    order = re.search(r"^// Order: (.+?)^//$", (ROOT / "dataplane/stages/pipeline.h").read_text(),
                      re.MULTILINE | re.DOTALL)
    assert order, "dataplane/stages/pipeline.h has no `// Order:` line"
    return re.findall(r"\w+", order.group(1))


def test_the_pipeline_declares_and_calls_the_stages_in_their_order():
    order = stage_order()
    header = code_of(ROOT / "dataplane/stages/pipeline.h")
    declared = [stage for stage in re.findall(
        r"^(?:void|\[\[nodiscard\]\] std::uint32_t) (\w+)\(Burst& burst", header, re.MULTILINE)
        if stage != "run_pipeline"]
    assert declared == order
    source = code_of(ROOT / "dataplane/stages/pipeline.cpp")
    body = re.search(r"^void run_pipeline\(.*?^}", source, re.MULTILINE | re.DOTALL).group()
    called = re.findall(r"^\s+(?:if \()?(\w+)\(burst\b", body, re.MULTILINE)
    assert [stage for stage in called if stage in declared] == order


def test_each_stage_has_a_file():
    report([stage for stage in stage_order()
            if not (ROOT / f"dataplane/stages/{stage}.cpp").is_file()])


def test_the_readme_tells_the_stages_in_their_order():
    tables = re.findall(r"(?:^\|.*\n)+", (ROOT / "dataplane/README.md").read_text(), re.MULTILINE)
    rows = [re.findall(r"^\|\s*\[?`(\w+)`", table, re.MULTILINE) for table in tables]
    assert stage_order() in rows, f"no table with these rows; the tables have {rows}"


def test_every_drop_has_a_packet_test():
    enum = re.search(r"enum class Drop\b[^{]*{(.*?)}", code_of(ROOT / "dataplane/state/drop.h"),
                     re.DOTALL).group(1)
    reasons = set(re.findall(r"\bk\w+", enum)) - {"kNone", "kCount"}
    assert len(reasons) > 20
    tests = files(".cpp", under=("tests/packet", "tests/unit/dataplane/lcore"))
    tested = {reason for path in tests for reason in re.findall(r"\bDrop::(k\w+)", code_of(path))}
    report(sorted(reasons - tested))


# ---- sizes: told, not judged

def functions_of(path):
    """(name, lines) of each function in a C++ file, by its braces."""
    code = code_of(path)
    scopes, begin = [], 0  # of each open brace: None, or (name, offset) of a function
    for match in re.finditer(r"[{};]", code):
        if match.group() == "{":
            head = code[begin:match.start()]
            called = re.search(r"([\w~:]+|operator\S+)\s*\(", head)
            inside = any(scope is not None for scope in scopes)
            scope = re.search(r"\b(namespace|class|struct|union|enum)\b[^()]*$", head)
            is_function = called and not scope and not inside and "= {" not in head + "{"
            at = begin + len(head) - len(head.lstrip())
            scopes.append((called.group(1), at) if is_function else None)
        elif match.group() == "}" and scopes:
            function = scopes.pop()
            if function:
                yield function[0], code.count("\n", function[1], match.end()) + 1
        begin = match.end()


def python_functions_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def test_sizes_are_reported():
    large = []
    for path in files(".h", ".cpp", ".py"):
        lines = len(path.read_text().splitlines())
        if lines > FILE_LINES:
            large.append(f"{name(path)}: {lines} lines (> {FILE_LINES})")
        functions = python_functions_of if path.suffix == ".py" else functions_of
        large += [f"{name(path)}: {function}: {length} lines (> {FUNCTION_LINES})"
                  for function, length in functions(path) if length > FUNCTION_LINES]
    if large:
        warnings.warn("larger than the house likes:\n  " + "\n  ".join(large))
