#include "comm/local/local_fabric.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "comm/axes.hpp"
#include "comm/collectives.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::comm {

namespace {

/// Where a message is that lies in its sender's memory until it is received.
enum class Handover { offered, copying, done };

/// One message under way. Small ones are copied, so that a send is over at once, as eager transports do; of long ones
/// the receiver copies from the sender's buffer.
struct Message {
    std::vector<std::byte> copy;
    std::span<const std::byte> bytes;
    Clock::time_point due;
    std::shared_ptr<std::atomic<Handover>> handover;  // Second owner: the send request.
};

/// Messages of one address. As with MPI, the nth receive that was started gets the nth message, in whichever order the
/// receives are completed.
struct Box {
    std::map<index_t, Message> messages;  ///< by number, those that were not taken yet
    index_t num_sent = 0;
    index_t num_receives = 0;
    Clock::time_point last_due;
};

constexpr std::size_t kEagerBytes = 8192;

/// Messages are addressed by (communicator, source, destination, tag), ranks of the world.
using Address = std::tuple<std::int64_t, int, int, int>;

}  // namespace

struct LocalFabric::State {
    LocalOptions options;
    std::mutex mutex;
    std::map<Address, Box> mail;
    std::atomic<int> failed_rank{-1};
    std::atomic<std::int64_t> num_communicators{0};
    PerRank<std::atomic<index_t>> operations;

    explicit State(int num_ranks, LocalOptions wanted) : options(std::move(wanted)), operations(num_ranks) {}

    void check_alive() const {
        const int rank = failed_rank.load();
        if (rank >= 0) throw CommError(concat("rank ", rank, " has failed: nothing more will come from it"));
    }

    /// What nobody received was sent by mistake, or will meet a later receive that is not meant for it.
    void check_all_received() const {
        for (const auto& [address, box] : mail) {
            SY_REQUIRE(box.messages.empty(), "local fabric: ", box.messages.size(), " messages from rank ",
                       std::get<1>(address), " to rank ", std::get<2>(address), " with tag ",
                       std::get<3>(address), " were never received");
        }
    }

    /// Counts an operation of a rank and fails it when a test has asked for that. @return its number
    index_t count_operation(int rank) {
        const index_t number = operations[rank].fetch_add(1);
        if (rank == options.faults.failing_rank && number == options.faults.failing_operation) {
            throw CommError(concat("rank ", rank, " fails at operation ", number, ", as the test asked"));
        }
        return number;
    }

    /// When the message of a rank's nth operation arrives, or never: the same in every run.
    Clock::time_point due_time(int rank, index_t operation) const {
        const LocalFaults& faults = options.faults;
        const auto draw = [&](std::uint64_t what) {
            return uniform({faults.seed, what, static_cast<std::uint32_t>(rank), RandomPurpose::test},
                           static_cast<std::uint64_t>(operation));
        };
        if (draw(1) < faults.lost_share) return Clock::time_point::max();
        if (faults.max_delay.count() == 0) return {};
        return Clock::now() + std::chrono::microseconds(
                                  static_cast<long>(draw(0) * static_cast<float>(faults.max_delay.count())));
    }
};

namespace {

class SendRequest : public Request {
  public:
    SendRequest(std::shared_ptr<LocalFabric::State> state, Address address,
                std::shared_ptr<std::atomic<Handover>> handover, std::string description)
        : state_(std::move(state)),
          address_(address),
          handover_(std::move(handover)),
          description_(std::move(description)) {}
    ~SendRequest() override {
        if (is_over()) return;
        detail::report_dropped(*this);
        withdraw();
    }
    void set_number(index_t number) { number_ = number; }
    bool test() override {
        if (is_over()) return true;
        state_->check_alive();
        return false;
    }
    std::string description() const override { return description_; }

  private:
    bool is_over() const {
        return handover_ == nullptr || handover_->load(std::memory_order_acquire) == Handover::done;
    }
    /// The bytes belong to a sender that is failing: nobody may read them after this.
    void withdraw() {
        {
            const std::lock_guard lock(state_->mutex);
            if (handover_->load() == Handover::offered) {
                state_->mail.find(address_)->second.messages.erase(number_);
                return;
            }
        }
        while (!is_over()) std::this_thread::yield();
    }

    std::shared_ptr<LocalFabric::State> state_;  // Second owner: the fabric.
    Address address_;
    index_t number_ = 0;
    std::shared_ptr<std::atomic<Handover>> handover_;  // Second owner: the message.
    std::string description_;
};

class ReceiveRequest : public Request {
  public:
    ReceiveRequest(std::shared_ptr<LocalFabric::State> state, Address address, std::span<std::byte> bytes,
                   std::string description)
        : state_(std::move(state)), address_(address), bytes_(bytes), description_(std::move(description)) {
        const std::lock_guard lock(state_->mutex);
        number_ = state_->mail[address_].num_receives++;
    }
    ~ReceiveRequest() override {
        if (!done_) detail::report_dropped(*this);
    }

    bool test() override {
        if (done_) return true;
        Message message;
        if (!take(message)) {
            state_->check_alive();
            return false;
        }
        const bool fits = message.bytes.size() == bytes_.size();
        if (fits && !bytes_.empty()) std::memcpy(bytes_.data(), message.bytes.data(), bytes_.size());
        if (message.handover != nullptr) message.handover->store(Handover::done, std::memory_order_release);
        done_ = true;
        if (!fits)
            throw CommError(concat(description_, ": a message of ", message.bytes.size(), " bytes arrived"));
        return true;
    }
    std::string description() const override { return description_; }

  private:
    bool take(Message& message) {
        const std::lock_guard lock(state_->mutex);
        std::map<index_t, Message>& messages = state_->mail[address_].messages;
        const auto found = messages.find(number_);
        if (found == messages.end() || found->second.due > Clock::now()) return false;
        message = std::move(found->second);
        if (!message.copy.empty()) message.bytes = message.copy;
        if (message.handover != nullptr) message.handover->store(Handover::copying);
        messages.erase(found);
        return true;
    }

    std::shared_ptr<LocalFabric::State> state_;  // Second owner: the fabric.
    Address address_;
    index_t number_ = 0;
    std::span<std::byte> bytes_;
    std::string description_;
    bool done_ = false;
};

class LocalCommunicator : public Communicator {
  public:
    LocalCommunicator(std::shared_ptr<LocalFabric::State> state, std::int64_t id, PerRank<int> members,
                      int rank, std::string name)
        : state_(std::move(state)),
          id_(id),
          members_(std::move(members)),
          rank_(rank),
          settings_(state_->options.settings) {
        settings_.name = std::move(name);
    }

    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(members_.size()); }
    const Settings& settings() const override { return settings_; }
    void close() override { closed_ = true; }

    std::unique_ptr<Request> send(std::span<const std::byte> bytes, int destination, int tag) override {
        const index_t operation = begin(destination, tag);
        Message message{{}, bytes, state_->due_time(world_rank(rank_), operation), nullptr};
        if (bytes.size() <= kEagerBytes) {
            message.copy.assign(bytes.begin(), bytes.end());
            message.bytes = {};
        } else {
            message.handover = std::make_shared<std::atomic<Handover>>(Handover::offered);
        }
        const Address address{id_, world_rank(rank_), world_rank(destination), tag};
        auto request = std::make_unique<SendRequest>(
            state_, address, message.handover,
            concat("send of ", bytes.size(), " bytes to rank ", destination, ", tag ", tag));
        const std::lock_guard lock(state_->mutex);
        Box& box = state_->mail[address];
        message.due = box.last_due = std::max(message.due, box.last_due);
        request->set_number(box.num_sent);
        box.messages.emplace(box.num_sent++, std::move(message));
        return request;
    }

    std::unique_ptr<Request> receive(std::span<std::byte> bytes, int source, int tag) override {
        begin(source, tag);
        return std::make_unique<ReceiveRequest>(
            state_, Address{id_, world_rank(source), world_rank(rank_), tag}, bytes,
            concat("receive of ", bytes.size(), " bytes from rank ", source, ", tag ", tag));
    }

    void poll() override { state_->check_alive(); }

    std::unique_ptr<Communicator> split(int color, int key) override {
        check_open();
        SY_REQUIRE(color >= 0, settings_.name, ": split by colour ", color);
        // Every rank offers a number that no communicator has; the first member's becomes the part's.
        const std::int64_t mine[3] = {color, key, 1 + state_->num_communicators.fetch_add(1)};
        const std::vector<std::int64_t> all = all_gather(*this, std::span<const std::int64_t>(mine));
        std::vector<std::pair<std::int64_t, int>> members;  // (key, rank)
        const MatrixView<const std::int64_t> offered(all.data(), size(), 3);
        for (int rank = 0; rank < size(); ++rank) {
            if (offered(rank, 0) == color) members.emplace_back(offered(rank, 1), rank);
        }
        std::sort(members.begin(), members.end());
        PerRank<int> world_ranks;
        int new_rank = 0;
        for (const auto& [_, member] : members) {
            if (member == rank_) new_rank = static_cast<int>(world_ranks.size());
            world_ranks.push_back(world_rank(member));
        }
        const std::int64_t id = offered(members.front().second, 2);
        auto part = std::make_unique<LocalCommunicator>(state_, id, std::move(world_ranks), new_rank,
                                                        concat(settings_.name, "/", color));
        part->belong_with(*this);
        return part;
    }

    std::unique_ptr<Communicator> split_by_node() override {
        const int per_node = state_->options.ranks_per_node;
        return split(per_node == 0 ? 0 : world_rank(rank_) / per_node, rank_);
    }

  private:
    int world_rank(int rank) const { return members_[rank]; }

    void check_open() const { SY_REQUIRE(!closed_, settings_.name, ": used after close"); }

    /// @return the number of this operation of this rank
    index_t begin(int peer, int tag) {
        check_open();
        detail::check_message(*this, peer, tag);
        state_->check_alive();
        return state_->count_operation(world_rank(rank_));
    }

    std::shared_ptr<LocalFabric::State> state_;  // Second owner: the fabric.
    std::int64_t id_;
    PerRank<int> members_;
    int rank_;
    Settings settings_;
    bool closed_ = false;
};

}  // namespace

LocalFabric::LocalFabric(int num_ranks, LocalOptions options)
    : state_(std::make_shared<State>(num_ranks, std::move(options))), num_ranks_(num_ranks) {
    SY_REQUIRE(num_ranks >= 1, "local fabric: ", num_ranks, " ranks");
}

LocalFabric::~LocalFabric() = default;

void LocalFabric::run(const std::function<void(Communicator&)>& body) {
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::exception_ptr first;
    PerRank<int> members;
    for (int rank = 0; rank < num_ranks_; ++rank) members.push_back(rank);
    for (int rank = 0; rank < num_ranks_; ++rank) {
        threads.emplace_back([&, rank] {
            try {
                LocalCommunicator world(state_, 0, members, rank, state_->options.settings.name);
                body(world);
            } catch (...) {
                const std::lock_guard lock(mutex);
                if (!first) first = std::current_exception();
                int nobody = -1;
                state_->failed_rank.compare_exchange_strong(nobody, rank);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    if (first) std::rethrow_exception(first);
    state_->check_all_received();
}

}  // namespace sy::comm
