// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/session.h"
#include "controlplane/cli/views.h"
#include "controlplane/manifest/manifest.h"

#include <fmt/format.h>

#include <chrono>

namespace sluice::cli {
namespace {

Row with_event(std::string event, const Row& cells) {
  Row row;
  row.push_back(std::move(event));
  row.insert(row.end(), cells.begin(), cells.end());
  return row;
}

// Prints what the first listing held as one table, then a line for each change in its columns.
class ServiceTable {
 public:
  explicit ServiceTable(const Session& session)
      : session_(session), columns_(service_columns(session.options)) {
    table_.header = with_event("EVENT", service_header(columns_));
  }

  void take(const v1::ServiceEvent& event) {
    if (event.type() == v1::ServiceEvent::SYNCED) {
      widths_ = widths_of(table_);
      session_.out << render(table_) << std::flush;
      table_.rows.clear();
      synced_ = true;
      return;
    }
    Row row = with_event(v1::ServiceEvent::Type_Name(event.type()),
                         service_row(event.entry(), columns_, std::chrono::system_clock::now()));
    if (synced_) {
      session_.out << render(row, widths_) << std::flush;
    } else {
      table_.rows.push_back(std::move(row));
    }
  }

 private:
  const Session& session_;
  ServiceColumns columns_;
  bool synced_ = false;
  Table table_;
  Widths widths_;
};

void print_event(const Session& session, const v1::ServiceEvent& event) {
  if (session.options.output == Output::kYaml) {
    session.out << "---\n";
  }
  print_message(session, event);
  session.out << std::flush;
}

}  // namespace

int watch_services(const Session& session) {
  const Options& options = session.options;
  grpc::ClientContext context;
  if (options.timeout) {
    client::set_deadline(context, *options.timeout);
  }
  v1::ListServicesRequest request;
  request.set_provider(options.provider.value_or(""));
  request.set_namespace_(options.namespace_filter());
  const auto reader = session.gateway.WatchServices(&context, request);
  ServiceTable table(session);
  v1::ServiceEvent event;
  while (reader->Read(&event)) {
    const bool is_entry = event.type() != v1::ServiceEvent::SYNCED;
    if (options.output == Output::kJson || options.output == Output::kYaml) {
      print_event(session, event);
    } else if (options.output == Output::kName) {
      if (is_entry) {
        session.out << "service/" << event.entry().service().metadata().name() << std::endl;
      }
    } else {
      table.take(event);
    }
  }
  const grpc::Status status = reader->Finish();
  // The time that was asked for is over: that is how such a watch ends.
  if (status.ok() ||
      (options.timeout && status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)) {
    return kOk;
  }
  return report(session, client::error_of(status));
}

}  // namespace sluice::cli
