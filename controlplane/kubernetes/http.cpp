// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/http.h"

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/string_view.h>
#include <algorithm>
#include <curl/curl.h>

namespace sluice::kubernetes {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kRefusalBytesMax = std::size_t{1} << 20;
constexpr long kConnectMs = 10'000;
constexpr long kKeepaliveSeconds = 30;

struct Slist {
  curl_slist* list = nullptr;
  Slist() = default;
  ~Slist() { curl_slist_free_all(list); }
  Slist(const Slist&) = delete;
  Slist& operator=(const Slist&) = delete;
  void add(const std::string& line) { list = curl_slist_append(list, line.c_str()); }
};

// curl's own copy, so that the text need not outlive the call.
void set_blob(CURL* easy, CURLoption option, const std::string& text) {
  curl_blob blob{const_cast<char*>(text.data()), text.size(), CURL_BLOB_COPY};
  curl_easy_setopt(easy, option, &blob);
}

void set_pem(CURL* easy, CURLoption file, CURLoption blob, const Pem& pem) {
  if (!pem.text.empty()) {
    set_blob(easy, blob, pem.text);
  } else if (!pem.file.empty()) {
    curl_easy_setopt(easy, file, pem.file.c_str());
  }
}

void set_tls(CURL* easy, const ClusterAccess& access, const Credentials::Present& as) {
  set_pem(easy, CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB, access.ca);
  set_pem(easy, CURLOPT_SSLCERT, CURLOPT_SSLCERT_BLOB, as.certificate);
  set_pem(easy, CURLOPT_SSLKEY, CURLOPT_SSLKEY_BLOB, as.key);
  // A CA that has been replaced is in force for the next connection, and so is a certificate: a
  // session that is resumed has the one that it began with.
  curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
  if (access.insecure) {
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
  }
}

// A server name that differs from the address is what is resolved to the address.
void set_server_name(CURL* easy, const ClusterAccess& access, const std::string& path,
                     Slist& connect_to) {
  std::string url = access.server + path;
  if (!access.tls_server_name.empty()) {
    const std::size_t begin = access.server.find("://") + 3;
    const std::size_t slash = std::min(access.server.find('/', begin), access.server.size());
    const std::string authority = access.server.substr(begin, slash - begin);
    const std::size_t colon = authority.rfind(':');
    const bool has_port =
        colon != std::string::npos && authority.find(']', colon) == authority.npos;
    const std::string port = has_port ? authority.substr(colon + 1) : "443";
    const std::string address = has_port ? authority.substr(0, colon) : authority;
    url = "https://" + access.tls_server_name + ":" + port + access.server.substr(slash) + path;
    connect_to.add(access.tls_server_name + ":" + port + ":" + address + ":" + port);
    curl_easy_setopt(easy, CURLOPT_CONNECT_TO, connect_to.list);
  }
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
}

}  // namespace

// What the callbacks of one request work on.
struct HttpClient::Transfer {
  CURL* easy;
  const Sink& sink;
  const std::atomic<bool>& stop;
  std::chrono::milliseconds silence_max;
  const std::atomic<bool>* cut;
  HttpResponse response{};
  steady_clock::time_point heard = steady_clock::now();
  bool ended_by_sink = false;

  static std::size_t take_body(char* data, std::size_t, std::size_t size, void* self) {
    return static_cast<Transfer*>(self)->take({data, size}) ? size : 0;
  }
  static std::size_t take_header(char* data, std::size_t, std::size_t size, void* self) {
    static_cast<Transfer*>(self)->read_header({data, size});
    return size;
  }
  // Called about once a second, whatever comes.
  static int look(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    auto& transfer = *static_cast<Transfer*>(self);
    if (transfer.stop || (transfer.cut != nullptr && *transfer.cut)) {
      transfer.response.fault = "stopped";
      return 1;
    }
    if (steady_clock::now() - transfer.heard > transfer.silence_max) {
      transfer.response.is_silent = true;
      transfer.response.fault =
          absl::StrFormat("no octet for %d s", transfer.silence_max.count() / 1000);
      return 1;
    }
    return 0;
  }

  bool take(std::string_view piece) {
    heard = steady_clock::now();
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (sink && status >= 200 && status < 300) {
      ended_by_sink = !sink(piece);
      return !ended_by_sink;
    }
    if (status < 300 || response.body.size() + piece.size() <= kRefusalBytesMax) {
      response.body.append(piece);
    }
    return true;
  }

  void read_header(absl::string_view line) {
    heard = steady_clock::now();
    constexpr absl::string_view kRetryAfter = "retry-after:";
    if (absl::AsciiStrToLower(line.substr(0, kRetryAfter.size())) != kRetryAfter) {
      return;
    }
    int seconds = 0;
    if (absl::SimpleAtoi(absl::StripAsciiWhitespace(line.substr(kRetryAfter.size())), &seconds)) {
      response.retry_after = std::chrono::seconds(std::max(seconds, 0));
    }
  }
};

HttpClient::HttpClient(const ClusterAccess& access, Credentials& credentials,
                       const std::atomic<bool>& stop)
    : access_(access), credentials_(credentials), stop_(stop) {
  static const bool initialized = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  (void)initialized;
  easy_ = curl_easy_init();
}

HttpClient::~HttpClient() {
  curl_easy_cleanup(easy_);
}

HttpResponse HttpClient::send(const HttpRequest& request, const Sink& sink) {
  HttpResponse response = send_once(request, sink);
  if (response.status == 401) {
    credentials_.refused();
    // A certificate belongs to a connection, and the one that is kept may be the refused one's.
    forget_connections();
    response = send_once(request, sink);
  }
  return response;
}

void HttpClient::forget_connections() {
  curl_easy_cleanup(easy_);
  easy_ = curl_easy_init();
}

HttpResponse HttpClient::send_once(const HttpRequest& request, const Sink& sink) {
  const auto as = credentials_.present(stop_);
  if (!as) {
    HttpResponse none;
    none.fault = as.error().message;
    return none;
  }
  CURL* easy = easy_;
  curl_easy_reset(easy);  // options only; connections stay
  Transfer transfer{easy, sink, stop_, request.silence_max, request.cut};
  Slist headers;
  headers.add("Accept: application/json");
  headers.add("Expect:");
  if (!as->bearer.empty()) {
    headers.add("Authorization: Bearer " + as->bearer);
  }
  if (!request.content_type.empty()) {
    headers.add("Content-Type: " + request.content_type);
  }
  Slist connect_to;
  set_server_name(easy, access_, request.path, connect_to);
  set_tls(easy, access_, *as);
  curl_easy_setopt(easy, CURLOPT_PROXY, access_.proxy.c_str());
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "sluice-k8s/" SLUICE_VERSION);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.list);
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (!request.body.empty()) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
  }
  curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.time_max.count()));
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, kKeepaliveSeconds);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, kKeepaliveSeconds);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::take_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Transfer::take_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, &Transfer::look);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  char why[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, why);
  const CURLcode code = curl_easy_perform(easy);
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  transfer.response.status = static_cast<int>(status);
  if (code != CURLE_OK && !transfer.ended_by_sink) {
    if (transfer.response.fault.empty()) {
      transfer.response.fault = why[0] != '\0' ? why : curl_easy_strerror(code);
    }
    // One of HTTP/2 that has fallen silent outlives its stream, and would be taken again.
    forget_connections();
  }
  return std::move(transfer.response);
}

std::string percent_encoded(std::string_view text) {
  std::string encoded;
  for (const char octet : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(octet)) || octet == '-' || octet == '_' ||
        octet == '.' || octet == '~') {
      encoded.push_back(octet);
    } else {
      encoded += absl::StrFormat("%%%02X", static_cast<unsigned char>(octet));
    }
  }
  return encoded;
}

}  // namespace sluice::kubernetes
