#pragma once

#include <memory>

#include "runtime/telemetry/json_lines.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Lists, with run.drop_ledger, every dropped choice as a line of run.directory/drops.jsonl, written by rank 0; its
/// fields are in telemetry/README.md. Without, every call does nothing.
class DropLog {
  public:
    explicit DropLog(Session& session);

    /// Writes what the tokens of all ranks have lost since the last call: by micro-step, layer, token and choice, so that
    /// the file does not depend on the layout. @par Collective over the world
    void write();

  private:
    Session& session_;
    std::unique_ptr<JsonLines> file_;
};

/// The lists of all ranks on rank 0, in order; nothing on others. @par Collective
model::DropLedger gather_drops(comm::Communicator& world, const model::DropLedger& mine);

}  // namespace sy::runtime
