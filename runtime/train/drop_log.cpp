#include "runtime/train/drop_log.hpp"

#include <algorithm>

#include "runtime/train/gather.hpp"

namespace sy::runtime {
namespace {

constexpr int kTag = 2900;

Json to_json(const model::DroppedChoice& drop) {
    return Json::Object{{"step", drop.step},
                        {"micro_step", drop.micro_step},
                        {"layer", drop.layer},
                        {"token", drop.token},
                        {"choice", drop.choice},
                        {"expert", drop.expert},
                        {"reason", drop.reason == model::DropReason::device ? "device" : "capacity"}};
}

}  // namespace

model::DropLedger gather_drops(comm::Communicator& world, const model::DropLedger& mine) {
    model::DropLedger all = gather_on_rank_0(world, std::span(mine), kTag, "list of dropped choices");
    std::sort(all.begin(), all.end());
    return all;
}

DropLog::DropLog(Session& session) : session_(session) {
    const RunConfig& run = session.config().run;
    if (!run.drop_ledger || session.world().rank() != 0) return;
    file_ = std::make_unique<JsonLines>(std::filesystem::path(run.directory) / "drops.jsonl");
}

void DropLog::write() {
    if (!session_.config().run.drop_ledger) return;
    const model::DropLedger drops = gather_drops(session_.world(), session_.take_drops());
    for (const model::DroppedChoice& drop : drops) file_->write(to_json(drop));
}

}  // namespace sy::runtime
