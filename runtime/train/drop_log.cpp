#include "runtime/train/drop_log.hpp"

#include <algorithm>

#include "comm/collectives.hpp"

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
    constexpr auto kBytes = static_cast<index_t>(sizeof(model::DroppedChoice));
    const auto count = static_cast<index_t>(mine.size());
    const std::vector<index_t> counts = comm::all_gather(world, std::span<const index_t>(&count, 1));
    std::vector<index_t> send{0};
    std::vector<index_t> receive{0};
    for (const index_t theirs : counts) {
        const bool to_first = send.size() == 1;
        send.push_back(send.back() + (to_first ? count * kBytes : 0));
        receive.push_back(receive.back() + (world.rank() == 0 ? theirs * kBytes : 0));
    }
    model::DropLedger all(static_cast<std::size_t>(receive.back() / kBytes));
    comm::start_all_to_all_v(world, std::as_bytes(std::span(mine)), send,
                             std::as_writable_bytes(std::span(all)), receive, kTag, "list of dropped choices")
        .wait();
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
