// SPDX-License-Identifier: Apache-2.0
// The first process of a guest (guest.py): loads the modules below /modules, in their order, puts a
// layer of memory over the host's file system, which comes by 9p and is read only, and becomes the
// command that follows `--` on the kernel's command line. Linked statically: nothing else is there.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <string>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

void must(bool done, const std::string& what) {
  if (!done) {
    std::fprintf(stderr, "guest_init: %s: %s\n", what.c_str(), std::strerror(errno));
    _exit(1);  // the kernel panics, and the machine ends
  }
}

void load_modules() {
  dirent** files = nullptr;
  const int count = scandir("/modules", &files, nullptr, alphasort);
  must(count >= 0, "/modules");
  for (int i = 0; i < count; ++i) {
    const std::string path = std::string("/modules/") + files[i]->d_name;
    if (files[i]->d_name[0] == '.') {
      continue;
    }
    const int module = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    must(module >= 0 && syscall(SYS_finit_module, module, "", 0) == 0, path);
    close(module);
  }
}

void mount_at(const char* source, const char* target, const char* type, const char* options) {
  mkdir(target, 0755);
  must(mount(source, target, type, 0, options) == 0, std::string("mounting ") + target);
}

}  // namespace

int main(int argc, char** argv) {
  must(argc > 1, "no command behind --");
  load_modules();
  mount_at("root", "/lower", "9p", "trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose");
  mount_at("upper", "/upper", "tmpfs", "");
  mkdir("/upper/files", 0755);
  mkdir("/upper/work", 0755);
  mount_at("root", "/root", "overlay", "lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work");
  mount_at("proc", "/root/proc", "proc", "");
  mount_at("sys", "/root/sys", "sysfs", "");
  mount_at("dev", "/root/dev", "devtmpfs", "");
  mount_at("tmp", "/root/tmp", "tmpfs", "");
  mount_at("run", "/root/run", "tmpfs", "");
  must(chroot("/root") == 0 && chdir("/") == 0, "chroot");
  setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
  execv(argv[1], argv + 1);
  must(false, argv[1]);
}
