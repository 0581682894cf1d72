-- SPDX-License-Identifier: Apache-2.0
-- For wrk: every 20th request closes its connection, so that new flows open all the time and the
-- flows of a draining backend end; closes with one line of JSON.
local requests = 0
local closing

function init(_)
  closing = wrk.format(nil, nil, {["Connection"] = "close"})
end

function request()
  requests = requests + 1
  return requests % 20 == 0 and closing or wrk.format()
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.2f, "connect": %d, "read": %d, "write": %d, "status": %d, ' ..
    '"timeout": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration / 1e6, errors.connect, errors.read, errors.write,
    errors.status, errors.timeout, latency:percentile(50), latency:percentile(99)))
end
