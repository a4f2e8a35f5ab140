#include "comm/nccl/nccl_communicator.hpp"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "comm/collectives.hpp"
#include "comm/ring.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/cuda/module.hpp"

namespace sy::comm {
namespace {

/// NCCL's part of a communicator. Its requests own it too, as an exception may leave them behind.
struct Gpus {
    std::unique_ptr<NcclGroup> group;
    bool is_given_up = false;

    void give_up() {
        is_given_up = true;
        group->abort();
    }
};

/// Complete when NCCL is ready for the next operation.
class ReadyRequest : public Request {
  public:
    explicit ReadyRequest(NcclGroup& group) : group_(group) {}
    bool test() override { return group_.is_ready(); }
    std::string description() const override { return "NCCL to be ready"; }

  private:
    NcclGroup& group_;
};

/// What NCCL does on its stream up to an event.
class NcclTransfer : public DeviceTransfer {
  public:
    NcclTransfer(std::shared_ptr<Gpus> gpus, Event arrival, std::string description)
        : gpus_(std::move(gpus)), arrival_(arrival), description_(std::move(description)) {}
    NcclTransfer(const NcclTransfer&) = delete;
    NcclTransfer& operator=(const NcclTransfer&) = delete;
    ~NcclTransfer() override {
        if (is_over_ || gpus_->is_given_up) return;
        detail::report_dropped(*this);
        gpus_->give_up();
    }

    bool test() override {
        if (is_over_) return true;
        try {
            static_cast<void>(gpus_->group->is_ready());  // later operations may not be; only an error counts
            is_over_ = gpus_->group->is_done(arrival_);
        } catch (const Error& error) {
            is_over_ = true;
            gpus_->give_up();
            throw CommError(concat(description_, ": ", error.what()));
        }
        return is_over_;
    }
    std::string description() const override { return description_; }
    Event arrival() const override { return arrival_; }

  private:
    std::shared_ptr<Gpus> gpus_;  // Second owners: the communicator and its other transfers.
    Event arrival_;
    std::string description_;
    bool is_over_ = false;
};

/// "to 1 (4096 bytes), 2 (64 bytes)"
template <class Message>
std::string list(const char* direction, std::span<const Message> messages, int Message::*peer) {
    std::string text;
    for (const Message& message : messages.first(std::min<std::size_t>(messages.size(), 8)))
        text += concat(text.empty() ? direction : ", ", message.*peer, " (",
                       message.rows.num_elements() * dtype_bytes(message.rows.dtype()), " bytes)");
    return text + (messages.size() > 8 ? concat(" and ", messages.size() - 8, " more") : "");
}

class NcclCommunicator : public Communicator, public DeviceMessages, public WindowedGroup {
  public:
    NcclCommunicator(Communicator& group, std::unique_ptr<NcclGroup> gpus, Device& device)
        : group_(group), gpus_(std::make_shared<Gpus>()), device_(device) {
        gpus_->group = std::move(gpus);
        belong_with(group);
        begin_to_accompany();
    }
    ~NcclCommunicator() override { end_accompanying(); }

    int rank() const override { return group_.rank(); }
    int size() const override { return group_.size(); }
    const Settings& settings() const override { return group_.settings(); }
    NativeCollectives* native_collectives() override { return group_.native_collectives(); }

    void poll() override {
        group_.poll();
        while (!watched_.empty() && watched_.front().transfer->test()) watched_.pop_front();
        if (watched_.empty()) return;
        const Watched& oldest = watched_.front();
        const auto age = Clock::now() - oldest.since;
        if (age <= settings().deadline) return;
        gpus_->give_up();
        const std::string waited = oldest.transfer->description();
        watched_.clear();  // asking the others polls again
        constexpr const char* kDoing = "wait for rows between GPUs";
        throw TimeoutError(concat(kDoing, " on ", settings().name, " rank ", rank(), " of ", size(),
                                  ": nothing after ",
                                  std::chrono::duration_cast<std::chrono::milliseconds>(age).count(),
                                  " ms; still waiting for\n  ", waited,
                                  "\nA peer has died, hangs or is far behind; raise "
                                  "parallel.deadline_seconds if it is only slow.\n",
                                  call_roll(kDoing)));
    }

    std::unique_ptr<Request> send(std::span<const std::byte> bytes, int destination, int tag) override {
        check_open();
        return group_.send(bytes, destination, tag);
    }
    std::unique_ptr<Request> receive(std::span<std::byte> bytes, int source, int tag) override {
        check_open();
        return group_.receive(bytes, source, tag);
    }
    std::unique_ptr<Communicator> split(int color, int key) override {
        check_open();
        return group_.split(color, key);
    }
    std::unique_ptr<Communicator> split_by_node() override {
        check_open();
        return group_.split_by_node();
    }

    std::unique_ptr<DeviceTransfer> start(std::span<const Outgoing> outgoing,
                                          std::span<const Incoming> incoming,
                                          const Context& context) override {
        begin(outgoing, incoming, context);
        gpus_->group->send_receive(outgoing, incoming);
        finish_telling("queueing of rows between GPUs");
        return transfer("rows between GPUs", outgoing, incoming);
    }

    std::unique_ptr<DeviceWindows> make_windows(const Context& context) override;

    /// Checks messages, and lets them begin after what is queued on the context's stream.
    void begin(std::span<const Outgoing> outgoing, std::span<const Incoming> incoming,
               const Context& context) {
        check_open();
        SY_REQUIRE(&context.device == &device_, settings().name, ": rows of ", context.device.name(),
                   ", but NCCL connects ", device_.name());
        for (const Outgoing& message : outgoing) check_peer(message.destination);
        for (const Incoming& message : incoming) check_peer(message.source);
        gpus_->group->stream().wait(context.stream.record());
    }
    /// What has been queued last.
    std::unique_ptr<DeviceTransfer> transfer(const char* what, std::span<const Outgoing> outgoing,
                                             std::span<const Incoming> incoming) const {
        return std::make_unique<NcclTransfer>(
            gpus_, gpus_->group->stream().record(),
            concat(what, list(", to ranks ", outgoing, &Outgoing::destination),
                   list(", from ranks ", incoming, &Incoming::source)));
    }

    void watch(std::unique_ptr<DeviceTransfer> transfer) override {
        watched_.push_back({std::move(transfer), Clock::now()});
    }

    void close() override {
        if (is_closed_) return;
        finish_watched();
        gpus_->group->end();
        finish_telling("end of NCCL");
        // Its group may close before others that still wait.
        end_accompanying();
        is_closed_ = true;
    }

    /// A message to and from every other rank: NCCL connects two ranks when they first meet, and later a rank that waits
    /// for that would keep others from what they wait for.
    void meet_all() {
        constexpr index_t kBytes = 16;
        const Context context{device_, device_.compute()};
        const Tensor given(device_, DType::u8, {size(), kBytes});
        Tensor taken(device_, DType::u8, {size(), kBytes});
        std::vector<Outgoing> outgoing;
        std::vector<Incoming> incoming;
        for_ring(group_, [&](int source, int destination) {
            incoming.push_back({taken.ref().rows_of({source, source + 1}), source});
            outgoing.push_back({given.ref().rows_of({destination, destination + 1}), destination});
        });
        std::vector<std::unique_ptr<Request>> requests;
        requests.push_back(start(outgoing, incoming, context));
        wait_all(*this, requests, "first message between GPUs");
    }

    /// @par Waits  until all that is watched has arrived
    void finish_watched() {
        std::vector<std::unique_ptr<Request>> last;
        for (Watched& watched : std::exchange(watched_, {})) last.push_back(std::move(watched.transfer));
        wait_all(*this, last, "last rows between GPUs");
    }

    NcclGroup& gpus() { return *gpus_->group; }

    void finish_telling(const char* doing) {
        std::vector<std::unique_ptr<Request>> requests;
        requests.push_back(std::make_unique<ReadyRequest>(*gpus_->group));
        try {
            wait_all(*this, requests, doing);
        } catch (const Error&) {
            gpus_->give_up();
            throw;
        }
    }

  private:
    void check_open() const { SY_REQUIRE(!is_closed_, settings().name, ": used after close"); }
    void check_peer(int peer) const {
        SY_REQUIRE(peer >= 0 && peer < size() && peer != rank(), settings().name, ": rows between ranks ",
                   rank(), " and ", peer, " of ", size());
    }

    struct Watched {
        std::unique_ptr<DeviceTransfer> transfer;
        Clock::time_point since;
    };

    Communicator& group_;
    std::shared_ptr<Gpus> gpus_;  // Second owners: transfers.
    Device& device_;
    std::deque<Watched> watched_;  ///< in the order in which they were started, or nearly so
    bool is_closed_ = false;
};

/// Windows of the group's GPUs, whose messages go by their kernels.
class NcclDeviceWindows : public DeviceWindows {
  public:
    NcclDeviceWindows(NcclCommunicator& group, NcclWindows& windows) : group_(group), windows_(windows) {
        open(NcclWindows::Use::words, 0);
    }

    std::unique_ptr<DeviceTransfer> start(std::span<const Outgoing> outgoing,
                                          std::span<const Incoming> incoming,
                                          const Context& context) override {
        group_.begin(outgoing, incoming, context);
        windows_.put(outgoing, incoming);
        return group_.transfer("rows put by GPUs", outgoing, incoming);
    }
    void watch(std::unique_ptr<DeviceTransfer> transfer) override { group_.watch(std::move(transfer)); }

    std::byte* open(index_t bytes) override { return open(NcclWindows::Use::rows, bytes); }
    index_t bytes() const override { return windows_.bytes(); }

    void close() override {
        group_.finish_watched();
        // What this rank has put may have arrived before what it gets.
        barrier(group_);
        while (windows_.begin_closing()) {
            group_.finish_telling("closing of memory to other GPUs");
            windows_.finish_closing();
        }
    }

  private:
    std::byte* open(NcclWindows::Use use, index_t bytes) {
        windows_.begin_opening(use, bytes);
        group_.finish_telling("opening of memory to other GPUs");
        return windows_.finish_opening();
    }

    NcclCommunicator& group_;
    NcclWindows& windows_;
};

std::unique_ptr<DeviceWindows> NcclCommunicator::make_windows(const Context& context) {
    check_open();
    SY_REQUIRE(&context.device == &device_, settings().name, ": windows of ", context.device.name(),
               ", but NCCL connects ", device_.name());
    NcclWindows* windows = nullptr;
    std::string problem;
    try {
        windows = &gpus().make_windows(settings().deadline);
    } catch (const ConfigError& error) {
        problem = error.what();
    }
    const std::vector<std::string> problems = all_gather(group_, problem);
    const auto first = std::ranges::find_if(problems, [](const std::string& text) { return !text.empty(); });
    if (first != problems.end())
        throw ConfigError(concat("rank ", first - problems.begin(), " of ", settings().name,
                                 " has no memory for rows that other GPUs put there: ", *first));
    return std::make_unique<NcclDeviceWindows>(*this, *windows);
}

/// The first rank's id. @throws CommError on all ranks when it can make none
NcclId agree_on_id(Communicator& group, NcclLibrary& library) {
    std::array<char, std::tuple_size_v<NcclId> + 1> words{};
    std::string problem;
    if (group.rank() == 0) {
        try {
            const NcclId id = library.make_id();
            std::transform(id.begin(), id.end(), words.begin(),
                           [](std::byte b) { return static_cast<char>(b); });
            words.back() = 1;
        } catch (const Error& error) {
            problem = concat(": ", error.what());
        }
    }
    broadcast(group, std::span<char>(words), 0);
    if (words.back() == 0)
        throw CommError(
            concat(group.settings().name, ": rank 0 cannot begin to connect GPUs by NCCL", problem));
    NcclId id{};
    std::transform(words.begin(), words.end() - 1, id.begin(),
                   [](char c) { return static_cast<std::byte>(c); });
    return id;
}

}  // namespace

NcclChoice load_nccl(Communicator& world) {
    NcclChoice choice;
    std::string problem;
    try {
        auto* const entry = reinterpret_cast<NcclModuleEntry*>(find_in_cuda_module(kNcclModuleSymbol));
        NcclModuleCall call;
        call.device_bytes = sizeof(Device);
        entry(call);
        choice.library.reset(call.library);
        if (call.library == nullptr) problem = call.message;
    } catch (const ConfigError& error) {
        problem = error.what();
    }
    const std::vector<std::string> problems = all_gather(world, problem);
    const auto first = std::ranges::find_if(problems, [](const std::string& text) { return !text.empty(); });
    if (first == problems.end()) {
        choice.note = concat("rows go from GPU to GPU by NCCL ", choice.library->version());
        return choice;
    }
    choice.library.reset();
    choice.note = concat("rows go through the host's memory, as rank ", first - problems.begin(),
                         " has no NCCL: ", *first);
    return choice;
}

std::unique_ptr<Communicator> connect_nccl(Communicator& group, NcclLibrary& library, Device& device) {
    const NcclId id = agree_on_id(group, library);
    auto gpus = library.connect(id, group.rank(), group.size(), device, group.settings().name);
    auto communicator = std::make_unique<NcclCommunicator>(group, std::move(gpus), device);
    communicator->finish_telling("connecting of GPUs by NCCL");
    communicator->meet_all();
    return communicator;
}

}  // namespace sy::comm
