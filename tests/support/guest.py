# SPDX-License-Identifier: Apache-2.0
"""A host that is a virtual machine, so that sluiced has NICs of several queues that a driver of
DPDK's drives: virtio-net with `mq=on,rss=on`, behind an IOMMU.

The machine runs Debian's kernel on the files of this one, which it only reads: what it writes stays
in its memory. QEMU runs in the namespace of the host that it plays; its NICs are TAP devices there
until Lab.cable_to_guest() moves them to where their other end is. On CPUs without virtualization QEMU
emulates one, which takes ten times as long.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import xmlrpc.client

from namespaces import CommandFailed, Namespace, run, wait_until
from paths import BUILD, ROOT

KERNEL = ROOT / "build" / "guest"
# Those of its NICs that a gateway may have, by the name of the TAP and its PCI address.
NICS = {"wan": "0000:00:10.0", "lan": "0000:00:11.0"}
MANAGEMENT = "0000:00:03.0"  # where the agent is asked
QUEUES = 2
MEMORY_MIB = 1536
HUGEPAGES_MIB = 640
# The first process has no modprobe yet: what it needs to reach the file system.
FIRST_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
ADDRESS, PORT = "10.0.2.15", 9000  # of the agent; QEMU hands on what comes to it on loopback
BOOT_SECONDS = 120


def slot_of(pci_address):
    return pci_address.split(":")[-1]


def kernel_package():
    known = run(["apt-cache", "depends", "linux-image-amd64"], check=False).stdout
    package = re.search(r"Depends: (linux-image-\S+)", known)
    if package is None:
        raise CommandFailed("apt knows no linux-image-amd64: run apt-get update")
    return package[1]


def unpack_kernel():
    """Debian's present kernel with what a guest needs beside it, in build/guest, once: there whole or
    not at all."""
    if KERNEL.is_dir():
        return
    KERNEL.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KERNEL.parent, prefix="guest-") as folder:
        package = kernel_package()
        # Not as user _apt, who may not write here.
        run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], cwd=folder,
            timeout=300)
        fresh = pathlib.Path(folder) / "guest"
        run(["dpkg", "-x", next(pathlib.Path(folder).glob("*.deb")), fresh])
        version = next((fresh / "lib" / "modules").iterdir()).name
        run(["depmod", "-b", fresh, version])
        shutil.move(fresh / "boot" / f"vmlinuz-{version}", fresh / "kernel")
        fresh.rename(KERNEL)


def first_modules():
    """Their files, each after those that it needs."""
    version = next((KERNEL / "lib" / "modules").iterdir()).name
    shown = run(["modprobe", "-d", KERNEL, "-S", version, "--show-depends", "-a", *FIRST_MODULES])
    lines = [line.split()[1] for line in shown.stdout.splitlines() if line.startswith("insmod")]
    return list(dict.fromkeys(lines))


def write_initramfs(path):
    """The first process and its modules, numbered in their order."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        shutil.copy(BUILD / "tests" / "support" / "guest_init", root / "init")
        (root / "modules").mkdir()
        for number, module in enumerate(first_modules(), start=10):
            shutil.copy(module, root / "modules" / f"{number}-{pathlib.Path(module).name}")
        names = "\n".join(str(file.relative_to(root)) for file in sorted(root.rglob("*")))
        with open(path, "wb") as archive:
            subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, check=True,
                           input=names.encode(), stdout=archive)


def accelerator():
    flags = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii")
    if re.search(r"^flags.*\b(svm|vmx)\b", flags, re.MULTILINE) and os.path.exists("/dev/kvm"):
        return ["-machine", "q35,accel=kvm,kernel-irqchip=split", "-cpu", "host"]
    return ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]


class Process:
    """One in the guest; as much of subprocess.Popen as tests use."""

    def __init__(self, guest, argv, log):
        self.args = argv
        self.returncode = None
        self._guest = guest
        self._number = guest.ask("spawn", argv, log)

    def poll(self):
        if self.returncode is None:
            self.returncode = self._guest.ask("poll", self._number)
        return self.returncode

    def wait(self, timeout=60):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.05)
        return self.returncode

    def send_signal(self, number):
        self._guest.ask("signal", self._number, int(number))

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Guest(Namespace):
    """What a test does on this host happens in the machine; QEMU is in `namespace`."""

    sockets = "/run"  # 9p has none

    def __init__(self, namespace, lab):
        super().__init__(namespace.name, lab)
        unpack_kernel()
        self._console = pathlib.Path(lab.directory) / "guest.log"
        initramfs = pathlib.Path(lab.directory) / "initramfs"
        write_initramfs(initramfs)
        with open(self._console, "wb") as console:
            self.machine = namespace.spawn(*self._qemu(initramfs), stdout=console,
                                           stderr=subprocess.STDOUT)
        wait_until(self._answers_or_ended, BOOT_SECONDS, "the guest's agent answering")
        if self.machine.poll() is not None:
            raise CommandFailed(f"the guest has ended:\n{self._console.read_text(errors='replace')}")
        self.run(ROOT / "deploy" / "host-setup", "--hugepages", HUGEPAGES_MIB, *NICS.values())
        self.run("mount", "-t", "hugetlbfs", "-o", "X-mount.mkdir", "hugepages", "/dev/hugepages")
        self.run("modprobe", "-a", "tun", "vfio_iommu_type1")

    def _qemu(self, initramfs):
        agent = [ROOT / "tests" / "support" / "guest_agent.py", self._lab.directory,
                 KERNEL / "lib" / "modules", MANAGEMENT, ADDRESS, PORT]
        line = " ".join(str(word) for word in (
            "console=ttyS0 quiet panic=-1 intel_iommu=on iommu=pt --", "/usr/bin/python3", *agent))
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
                *accelerator(), "-smp", "2", "-m", MEMORY_MIB, "-serial", "stdio",
                "-device", "intel-iommu,intremap=on,caching-mode=on",
                "-kernel", KERNEL / "kernel", "-initrd", initramfs, "-append", line,
                "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=root,mount_tag=root,addr=4.0",
                "-fsdev", f"local,id=lab,path={self._lab.directory},security_model=none",
                "-device", "virtio-9p-pci,fsdev=lab,mount_tag=lab,addr=5.0",
                "-netdev", "user,id=management,restrict=on,ipv6=off,"
                           f"hostfwd=tcp:127.0.0.1:{PORT}-{ADDRESS}:{PORT}",
                "-device", f"virtio-net-pci,netdev=management,addr={slot_of(MANAGEMENT)},romfile="]
        for number, (tap, address) in enumerate(NICS.items(), start=1):
            argv += ["-netdev", f"tap,id={tap},ifname={tap},queues={QUEUES},script=no,downscript=no",
                     "-device", f"virtio-net-pci,netdev={tap},addr={slot_of(address)},"
                                f"mac=52:54:00:00:00:0{number},mq=on,rss=on,vectors={2 * QUEUES + 2},"
                                "disable-legacy=on,iommu_platform=on,romfile="]
        return argv

    def ask(self, function, *arguments, seconds=60):
        """Of the agent."""
        transport = xmlrpc.client.Transport(use_builtin_types=True)
        with self.entered():
            connection = transport.make_connection(f"127.0.0.1:{PORT}")
            connection.timeout = seconds + 10
            server = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{PORT}", transport=transport,
                                               allow_none=True, use_builtin_types=True)
            return getattr(server, function)(*arguments)

    def _answers_or_ended(self):
        try:
            return self.machine.poll() is not None or self.ask("run", ["true"], b"", {}, 10)
        except OSError:
            return False

    def run(self, *words, check=True, timeout=60, input=None, env=None):  # as subprocess has them
        argv = [str(word) for word in words]
        ours = {name: value for name, value in (env or {}).items() if name.startswith("SLUICE_")}
        code, said, complained = self.ask("run", argv, (input or "").encode(), ours, timeout,
                                          seconds=timeout)
        done = subprocess.CompletedProcess(argv, code, said.decode(errors="replace"),
                                           complained.decode(errors="replace"))
        if check and code != 0:
            raise CommandFailed(f"{' '.join(argv)}: exit {code}\n{done.stdout}{done.stderr}".rstrip())
        return done

    run_beside = run

    def ip(self, *words, **options):
        return self.run("ip", *words, **options)

    def spawn(self, *words, stdout=None, **_):
        """`stdout`: a file in the lab's directory, which the guest sees too."""
        return Process(self, [str(word) for word in words], stdout.name if stdout else "")

    def plug(self, device, other, other_device):
        """Gives the other end of a NIC's cable to another host."""
        run(["ip", "-n", self.name, "link", "set", device, "netns", other.name, "name", other_device])

    def socket(self, *_):
        raise unittest.SkipTest("the sockets of a test are not in the virtual machine")

    frames = socket
