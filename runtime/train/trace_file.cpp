#include "runtime/train/trace_file.hpp"

#include <algorithm>
#include <functional>
#include <optional>

#include "comm/collectives.hpp"
#include "runtime/checkpoint/agree.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/output_file.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

constexpr int kTag = 2903;
constexpr std::string_view kDoing = "gathering of a trace";
constexpr std::size_t kEventsOfAPiece = 2048;

/// Gives a rank's events as text, a bounded piece at a time.
void for_pieces(const RankTrace& trace, const std::function<void(const std::string&)>& take) {
    take(trace_names(trace.source));
    index_t sent_bytes = 0;
    for (const auto& [events, thread] : {std::pair{std::span(trace.events), kRankThread},
                                         std::pair{std::span(trace.background), kBackgroundThread}}) {
        for (std::size_t first = 0; first < events.size(); first += kEventsOfAPiece) {
            const std::size_t count = std::min(kEventsOfAPiece, events.size() - first);
            const std::string piece =
                trace_events(trace.source, events.subspan(first, count), thread, sent_bytes);
            if (!piece.empty()) take(piece);
        }
    }
}

void send(comm::Communicator& world, std::span<const std::byte> bytes) {
    std::vector<std::unique_ptr<comm::Request>> requests;
    requests.push_back(world.send(bytes, 0, kTag));
    comm::wait_all(world, requests, kDoing);
}

void receive(comm::Communicator& world, std::span<std::byte> bytes, int source) {
    std::vector<std::unique_ptr<comm::Request>> requests;
    requests.push_back(world.receive(bytes, source, kTag));
    comm::wait_all(world, requests, kDoing);
}

/// An empty piece ends a rank's events.
void send_piece(comm::Communicator& world, const std::string& piece) {
    const auto size = static_cast<index_t>(piece.size());
    send(world, std::as_bytes(std::span(&size, 1)));
    if (size > 0) send(world, std::as_bytes(std::span(piece)));
}

std::string receive_piece(comm::Communicator& world, int source) {
    index_t size = 0;
    receive(world, std::as_writable_bytes(std::span(&size, 1)), source);
    std::string piece(static_cast<std::size_t>(size), '\0');
    if (size > 0) receive(world, std::as_writable_bytes(std::span(piece)), source);
    return piece;
}

/// The file on rank 0. What goes wrong waits until all pieces have been taken: ranks that send are not left alone.
class TraceFile {
  public:
    explicit TraceFile(const fs::path& path) : path_(path), unfinished_(path.string() + ".new") {}

    void open() {
        if (fs::exists(path_))
            throw IoError(concat("telemetry.trace: ", path_.string(), " is there already; move it away"));
        if (path_.has_parent_path()) fs::create_directories(path_.parent_path());
        // Left by a kill.
        fs::remove(unfinished_);
        file_.emplace(unfinished_);
        append("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    }

    /// @param events  as trace_events gives them, at least one
    void add(const std::string& events) {
        if (has_events_) append(kTraceSeparator);
        append(events);
        has_events_ = true;
    }

    void publish(const Json& about) {
        append("\n],\"otherData\":" + about.text() + "}\n");
        if (!failure_.empty()) throw IoError(failure_);
        file_->finish();
        fs::rename(unfinished_, path_);
        detail::flush_to_disk(path_.has_parent_path() ? path_.parent_path() : fs::path("."));
    }

  private:
    void append(const std::string& text) {
        if (!failure_.empty()) return;
        try {
            file_->append(std::as_bytes(std::span(text)));
        } catch (const IoError& error) {
            failure_ = error.what();
        }
    }

    fs::path path_;
    fs::path unfinished_;
    std::optional<detail::NewFile> file_;
    bool has_events_ = false;
    std::string failure_;
};

}  // namespace

void write_trace(comm::Communicator& world, const fs::path& path, const RankTrace& mine, Json::Object about) {
    const Json own = clock_record(
        mine.source, static_cast<index_t>(mine.events.size() + mine.background.size()), mine.num_dropped);
    Json::Array ranks;
    for (const std::string& text : comm::all_gather(world, own.text())) ranks.push_back(Json::parse(text));
    about.push_back({"ranks", std::move(ranks)});
    TraceFile file(path);
    decided_by_rank_0(world, [&] {
        file.open();
        return std::string();
    });
    if (world.rank() == 0) {
        for_pieces(mine, [&](const std::string& piece) { file.add(piece); });
        for (int rank = 1; rank < world.size(); ++rank) {
            for (std::string piece = receive_piece(world, rank); !piece.empty();
                 piece = receive_piece(world, rank))
                file.add(piece);
        }
    } else {
        for_pieces(mine, [&](const std::string& piece) { send_piece(world, piece); });
        send_piece(world, "");
    }
    decided_by_rank_0(world, [&] {
        file.publish(about);
        return std::string();
    });
}

}  // namespace sy::runtime
