// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/dataplane.h"

namespace sluice::runtime {

// One sentence for whoever starts the program; the same type from the dataplane to the API.
using sluice::StartFault;

}  // namespace sluice::runtime
