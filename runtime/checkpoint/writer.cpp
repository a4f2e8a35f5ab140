#include "runtime/checkpoint/writer.hpp"

#include <algorithm>
#include <utility>

#include "kernels/ops/cpu_device.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/folders.hpp"
#include "runtime/checkpoint/on_all_ranks.hpp"
#include "runtime/checkpoint/shard_file.hpp"
#include "runtime/checkpoint/single_file.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Writes a rank's shard, in whatever thread. @return its part of the manifest as text
std::string write_shard(const fs::path& folder, int rank, const std::vector<Piece>& pieces,
                        const std::stop_token& stop) {
    const auto values_of = [&](std::size_t idx) {
        if (stop.stop_requested()) throw IoError("the writing was called off");
        return detail::values_with_checksum(pieces[idx]);
    };
    return write_manifest(detail::write_shard_file(folder, detail::shard_name(rank), pieces, values_of));
}

}  // namespace

CheckpointWriter::CheckpointWriter(Settings settings, const Context& context, comm::Communicator& world)
    : settings_(std::move(settings)), context_(context), world_(world) {}

std::vector<Piece> CheckpointWriter::take_snapshot(const std::vector<Piece>& pieces) {
    std::vector<std::size_t> offsets{0};
    for (const Piece& piece : pieces) offsets.push_back(offsets.back() + piece.values.size());
    const auto bytes = static_cast<index_t>(offsets.back() * sizeof(float));
    if (snapshot_.bytes() < bytes) snapshot_ = context_.device.allocate(bytes, Memory::staging);
    const std::span<float> memory(reinterpret_cast<float*>(snapshot_.data()), offsets.back());
    std::vector<Piece> copies = pieces;
    cpu(context_).team().for_tasks(static_cast<index_t>(pieces.size()), [&](index_t i, int) {
        const auto idx = static_cast<std::size_t>(i);
        const std::span<float> copy = memory.subspan(offsets[idx], pieces[idx].values.size());
        std::ranges::copy(pieces[idx].values, copy.begin());
        copies[idx].values = copy;
    });
    return copies;
}

CheckpointWriter::Task CheckpointWriter::make_task(const std::vector<Piece>& pieces) {
    if (manifest_.layout == CheckpointLayout::single) {
        // Collective, so it cannot wait for a thread.
        const Manifest part = detail::write_single_file(unfinished_, pieces, manifest_.step, world_);
        return Task([text = write_manifest(part)](const std::stop_token&) { return text; });
    }
    return Task(
        [folder = unfinished_, rank = world_.rank(), step = manifest_.step, trace = settings_.trace,
         written = in_background() && !read_ ? take_snapshot(pieces) : pieces](const std::stop_token& stop) {
            if (trace != nullptr) trace->begin_background("write shard", step);
            std::string record = write_shard(folder, rank, written, stop);
            if (trace != nullptr) trace->end_background();
            return record;
        });
}

void CheckpointWriter::start(const std::vector<Piece>& pieces, Manifest manifest,
                             std::optional<HostValues> read) {
    SY_REQUIRE(!under_way(), "checkpoint of step ", manifest.step, ": the one of step ", manifest_.step,
               " is not finished");
    start_ = Clock::now();
    manifest_ = std::move(manifest);
    manifest_.layout = settings_.form.layout;
    const fs::path checkpoints = settings_.run / "checkpoints";
    unfinished_ = checkpoints / (".unfinished-" + detail::step_name(manifest_.step));
    detail::fail_on_all_ranks(world_, detail::kWritingFailed, [&] {
        if (world_.rank() == 0) notes_ = detail::make_unfinished(checkpoints, manifest_.step);
    });
    if (!context_.device.is_host_memory()) read_ = std::move(read);
    Task task = make_task(pieces);
    records_ = task.get_future();
    thread_ = std::jthread(std::move(task));
    if (!in_background()) detail::wait_on_all_ranks(world_, records_);
    start_seconds_ = seconds_since(start_);
}

bool CheckpointWriter::busy() const {
    return under_way() && records_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
}

CheckpointWriter::Published CheckpointWriter::finish() {
    SY_REQUIRE(under_way(), "checkpoint: nothing to finish");
    const Clock::time_point finish = Clock::now();
    detail::wait_on_all_ranks(world_, records_);
    read_.reset();
    std::string records;
    detail::fail_on_all_ranks(world_, detail::kWritingFailed, [&] { records = records_.get(); });
    const std::vector<std::string> all = comm::all_gather(world_, records);
    detail::fail_on_all_ranks(world_, detail::kWritingFailed, [&] {
        if (world_.rank() == 0) publish(all);
    });
    detail::fail_on_all_ranks(world_, "removing old checkpoints failed", [&] {
        if (world_.rank() != 0) return;
        const fs::path checkpoints = settings_.run / "checkpoints";
        // The usual checkpoint is good itself, and no other manifest needs to be read.
        const std::optional<index_t> good =
            manifest_.state.skipped_in_a_row == 0 ? manifest_.step : detail::last_good_step(checkpoints);
        for (const std::string& note : detail::remove_old(checkpoints, settings_.keep_last, good))
            notes_.push_back(note);
    });
    return {manifest_.step, settings_.run / "checkpoints" / detail::step_name(manifest_.step),
            start_seconds_ + seconds_since(finish), seconds_since(start_), std::exchange(notes_, {})};
}

void CheckpointWriter::publish(const std::vector<std::string>& records) {
    for (const std::string& text : records)
        manifest_.add(parse_manifest(text, "a rank's part of the manifest"));
    const std::vector<std::string> problems = coverage_problems(manifest_);
    if (!problems.empty())
        throw IoError(concat("the ranks' parts do not make a whole model: ", problems.front(), " (",
                             problems.size(), " such problems)"));
    if (manifest_.layout == CheckpointLayout::sharded) detail::write_virtual_model(unfinished_, manifest_);
    detail::write_text(unfinished_ / "manifest.json", write_manifest(manifest_));
    const fs::path checkpoints = settings_.run / "checkpoints";
    detail::publish_finished(unfinished_, checkpoints, manifest_.step);
}

}  // namespace sy::runtime
