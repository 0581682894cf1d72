// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/batch.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <absl/hash/hash.h>
#include <absl/strings/numbers.h>
#include <algorithm>
#include <string_view>

namespace sluice::kubernetes {

std::uint64_t print_of(const google::protobuf::Message& message, std::size_t& bytes) {
  std::string text;
  {
    google::protobuf::io::StringOutputStream out(&text);
    google::protobuf::io::CodedOutputStream coded(&out);
    coded.SetSerializationDeterministic(true);  // maps in a fixed order
    message.SerializeToCodedStream(&coded);
  }
  bytes += text.size();
  return absl::HashOf(text) | 1U;
}

std::vector<std::string> Batch::Upsert::vips() const {
  const auto& vips = service.spec().load_balancer_ips();
  return {vips.begin(), vips.end()};
}

v1::ApplyRequest Batch::request() const {
  v1::ApplyRequest request;
  for (const Upsert& upsert : upserts) {
    *request.add_upsert() = upsert.service;
  }
  for (const ServiceName& name : gone) {
    v1::ServiceName& message = *request.add_delete_();
    message.set_namespace_(name.space);
    message.set_name(name.name);
  }
  return request;
}

std::pair<Batch, Batch> Batch::halves() && {
  std::pair<Batch, Batch> halves;
  halves.first.gone = std::move(gone);
  const std::size_t half = halves.first.gone.empty() ? upserts.size() / 2 : 0;
  for (std::size_t i = 0; i < upserts.size(); ++i) {
    (i < half ? halves.first : halves.second).upserts.push_back(std::move(upserts[i]));
  }
  return halves;
}

bool is_about_services(const client::Error& error) {
  switch (error.code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
    case grpc::StatusCode::FAILED_PRECONDITION:
      return true;
    default:
      return false;
  }
}

namespace {

// The places that violations name as "LIST[PLACE]...", below `end`: in their order, each once.
std::vector<std::size_t> places_in(const client::Error& error, std::string_view list,
                                   std::size_t end) {
  std::vector<std::size_t> places;
  for (const client::FieldViolation& violation : error.violations) {
    const std::string_view field = violation.field;
    std::size_t place = 0;
    if (field.starts_with(list) && field.substr(list.size()).starts_with('[')) {
      const std::string rest(field.substr(list.size() + 1));
      if (absl::SimpleAtoi(rest.substr(0, rest.find(']')), &place) && place < end) {
        places.push_back(place);
      }
    }
  }
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  return places;
}

}  // namespace

std::vector<std::size_t> culprits(const client::Error& error, const Batch& batch) {
  std::vector<std::size_t> places = places_in(error, "upsert", batch.upserts.size());
  if (places.empty() && batch.upserts.size() == 1 && batch.gone.empty()) {
    places.push_back(0);
  }
  return places;
}

std::vector<std::size_t> gone_already(const client::Error& error, const Batch& batch) {
  return places_in(error, "delete", batch.gone.size());
}

// Of a quota it is not this VIP that is too many.
std::string refused_vip_of(const client::Error& error, std::size_t place,
                           const v1::Service& service) {
  if (error.code != grpc::StatusCode::ALREADY_EXISTS &&
      error.code != grpc::StatusCode::INVALID_ARGUMENT) {
    return {};
  }
  const auto& vips = service.spec().load_balancer_ips();
  const std::string field = "upsert[" + std::to_string(place) + "].spec.loadBalancerIPs[";
  for (const client::FieldViolation& violation : error.violations) {
    for (int i = 0; i < vips.size(); ++i) {
      if (violation.field == field + std::to_string(i) + "]") {
        return vips[i];
      }
    }
  }
  return {};
}

std::string refusal_of(const client::Error& error, std::size_t place) {
  const std::string prefix = "upsert[" + std::to_string(place) + "].";
  for (const client::FieldViolation& violation : error.violations) {
    if (violation.field.starts_with(prefix)) {
      return violation.field.substr(prefix.size()) + ": " + violation.description;
    }
  }
  return error.message.empty() ? client::name_of(error.code) : error.message;
}

}  // namespace sluice::kubernetes
