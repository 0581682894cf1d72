// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/config.h"

#include <grpcpp/security/server_credentials.h>

#include <memory>

namespace sluice::api {

// TLS on both sides; the files are read again within 5 s of a change. Throws StartFault, naming the
// field, when they cannot be read or do not belong together.
std::shared_ptr<grpc::ServerCredentials> tls_credentials(const model::TcpApiInput& tcp);

}  // namespace sluice::api
