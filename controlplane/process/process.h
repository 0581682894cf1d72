// SPDX-License-Identifier: Apache-2.0
// What a daemon is to the system that runs it.
#pragma once

#include <signal.h>
#include <string>

namespace sluice::process {

// SIGTERM, SIGINT and SIGHUP (of a terminal that goes away), blocked before any thread is made, so
// that only a sigwait() for the returned set sees them. SIGPIPE is ignored.
sigset_t block_signals();

// sd_notify(3) without its library: a datagram to the socket that systemd names, if it does.
void notify(const char* state);

// To standard error. `level`: "error", "warning", "info", "debug".
void set_up_log(const std::string& program, const std::string& level);

}  // namespace sluice::process
