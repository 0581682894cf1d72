// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/result.h"

#include <grpcpp/support/status.h>

namespace sluice::api {

// The status a client gets: the code, the sentence, and in grpc-status-details-bin a
// google.rpc.Status with BadRequest, ResourceInfo or ErrorInfo as the error has it.
grpc::Status to_status(const model::Error& error);

}  // namespace sluice::api
