// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/result.h"
#include "controlplane/model/service.h"

#include <optional>
#include <string>

namespace sluice::model {

// Checks all that one service can be checked for by itself, adding every fault under `path`
// ("upsert[0]"), and returns what could be made of it; it is meaningful only when nothing was
// added.
Service validate(const ServiceInput& input, const std::string& path, Faults& faults);

// The options among it, faults under `spec` ("upsert[0].spec"); what validate() does of it.
ServiceOptions validate_options(const ServiceInput& input, const std::string& spec, Faults& faults);

// Its type, its addresses and their families, faults likewise.
void validate_addresses(const ServiceInput& input, const std::string& spec, Service& service,
                        Faults& faults);

// The address, when it is_usable_unicast(); else nothing, and a sentence for who wrote it.
[[nodiscard]] std::optional<IpAddress> read_address(const std::string& text, std::string& fault);
// RFC 1123 label.
[[nodiscard]] bool is_label(const std::string& text);
// An address that packets can be sent to beyond the link: not unspecified, loopback, multicast,
// link-local, of 0.0.0.0/8 or 240.0.0.0/4, nor an IPv4 address within IPv6.
[[nodiscard]] bool is_usable_unicast(const IpAddress& address);

// The part of validate() about whom a service reaches and by whom it is reached: traffic policies,
// its class, an external name. Its type and addresses are known.
void validate_reach(const ServiceInput& input, const std::string& path, Service& service,
                    Faults& faults);
// RFC 1123 §2.1: labels of letters, digits and hyphens, at most 253 characters; a dot at the end
// may be there.
bool is_domain_name(const std::string& text);

}  // namespace sluice::model
