// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/tls.h"

#include "controlplane/runtime/start_fault.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <openssl/ssl.h>

namespace sluice::api {
namespace {

constexpr unsigned kRefreshSeconds = 5;

// gRPC would only log that a handshake fails.
void check_files(const model::TcpApiInput& tcp) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_server_method()),
                                                                  &SSL_CTX_free);
  if (SSL_CTX_use_certificate_chain_file(context.get(), tcp.certificate.c_str()) != 1) {
    throw StartFault("api.tcp.certificate: " + tcp.certificate +
                     " cannot be read; it must be a PEM file with a certificate");
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), tcp.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    throw StartFault("api.tcp.key: " + tcp.key + " cannot be read, or is not the key of " +
                     tcp.certificate);
  }
  if (SSL_CTX_load_verify_file(context.get(), tcp.client_authority.c_str()) != 1) {
    throw StartFault("api.tcp.clientAuthority: " + tcp.client_authority +
                     " cannot be read; it must be a PEM file with a certificate");
  }
}

}  // namespace

std::shared_ptr<grpc::ServerCredentials> tls_credentials(const model::TcpApiInput& tcp) {
  check_files(tcp);
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          tcp.key, tcp.certificate, tcp.client_authority, kRefreshSeconds));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace sluice::api
