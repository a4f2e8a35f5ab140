#include "comm/local/local_fabric.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "comm/collectives.hpp"
#include "kernels/core/philox.hpp"

namespace sy::comm {

namespace {

/// One message under way. Small ones are copied, so that a send is over at once, as eager transports do; of long ones
/// the receiver copies from the sender's buffer.
struct Message {
    std::vector<std::byte> copy;
    std::span<const std::byte> bytes;
    Clock::time_point due;
    std::shared_ptr<std::atomic<bool>> taken;  // Second owner: the send request.
};

constexpr std::size_t kEagerBytes = 8192;

/// Messages are addressed by (communicator, source, destination, tag), ranks of the world.
using Address = std::tuple<std::uint64_t, int, int, int>;

}  // namespace

struct LocalFabric::State {
    LocalOptions options;
    std::mutex mutex;
    std::map<Address, std::deque<Message>> mail;
    std::atomic<int> failed_rank{-1};
    std::atomic<std::uint64_t> num_messages{0};
    std::vector<std::atomic<index_t>> operations;

    explicit State(int num_ranks, LocalOptions wanted)
        : options(std::move(wanted)), operations(static_cast<std::size_t>(num_ranks)) {}

    void check_alive() const {
        const int rank = failed_rank.load();
        if (rank >= 0) throw CommError(concat("rank ", rank, " has failed: nothing more will come from it"));
    }

    /// Counts an operation of a rank and fails it when a test has asked for that.
    void count_operation(int rank) {
        const index_t number = operations[static_cast<std::size_t>(rank)].fetch_add(1);
        if (rank == options.faults.failing_rank && number == options.faults.failing_operation) {
            throw CommError(concat("rank ", rank, " fails at operation ", number, ", as the test asked"));
        }
    }

    Clock::time_point due_time() {
        if (options.faults.max_delay.count() == 0) return {};
        const std::uint64_t number = num_messages.fetch_add(1);
        const float share = uniform({options.faults.seed, 0, 0, RandomPurpose::test}, number);
        return Clock::now() + std::chrono::microseconds(static_cast<long>(
                                  share * static_cast<float>(options.faults.max_delay.count())));
    }
};

namespace {

class SendRequest : public Request {
  public:
    SendRequest(std::shared_ptr<LocalFabric::State> state, std::shared_ptr<std::atomic<bool>> taken,
                std::string description)
        : state_(std::move(state)), taken_(std::move(taken)), description_(std::move(description)) {}
    bool test() override {
        if (taken_ == nullptr || taken_->load(std::memory_order_acquire)) return true;
        state_->check_alive();
        return false;
    }
    std::string description() const override { return description_; }

  private:
    std::shared_ptr<LocalFabric::State> state_;  // Second owner: the fabric.
    std::shared_ptr<std::atomic<bool>> taken_;   // Second owner: the message.
    std::string description_;
};

class ReceiveRequest : public Request {
  public:
    ReceiveRequest(std::shared_ptr<LocalFabric::State> state, Address address, std::span<std::byte> bytes,
                   std::string description)
        : state_(std::move(state)), address_(address), bytes_(bytes), description_(std::move(description)) {}

    bool test() override {
        if (done_) return true;
        Message message;
        if (!take(message)) {
            state_->check_alive();
            return false;
        }
        if (message.bytes.size() != bytes_.size()) {
            throw CommError(concat(description_, ": a message of ", message.bytes.size(), " bytes arrived"));
        }
        if (!bytes_.empty()) std::memcpy(bytes_.data(), message.bytes.data(), bytes_.size());
        if (message.taken != nullptr) message.taken->store(true, std::memory_order_release);
        done_ = true;
        return true;
    }
    std::string description() const override { return description_; }

  private:
    bool take(Message& message) {
        const std::lock_guard lock(state_->mutex);
        const auto box = state_->mail.find(address_);
        if (box == state_->mail.end() || box->second.empty()) return false;
        if (box->second.front().due > Clock::now()) return false;
        message = std::move(box->second.front());
        if (!message.copy.empty()) message.bytes = message.copy;
        box->second.pop_front();
        return true;
    }

    std::shared_ptr<LocalFabric::State> state_;  // Second owner: the fabric.
    Address address_;
    std::span<std::byte> bytes_;
    std::string description_;
    bool done_ = false;
};

class LocalCommunicator : public Communicator {
  public:
    LocalCommunicator(std::shared_ptr<LocalFabric::State> state, std::uint64_t id, std::vector<int> members,
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
    void close() override {}

    std::unique_ptr<Request> send(std::span<const std::byte> bytes, int destination, int tag) override {
        begin(destination);
        Message message{{}, bytes, state_->due_time(), nullptr};
        if (bytes.size() <= kEagerBytes) {
            message.copy.assign(bytes.begin(), bytes.end());
            message.bytes = {};
        } else {
            message.taken = std::make_shared<std::atomic<bool>>(false);
        }
        auto request = std::make_unique<SendRequest>(
            state_, message.taken,
            concat("send of ", bytes.size(), " bytes to rank ", destination, ", tag ", tag));
        const std::lock_guard lock(state_->mutex);
        std::deque<Message>& box = state_->mail[{id_, world_rank(rank_), world_rank(destination), tag}];
        if (!box.empty()) message.due = std::max(message.due, box.back().due);
        box.push_back(std::move(message));
        return request;
    }

    std::unique_ptr<Request> receive(std::span<std::byte> bytes, int source, int tag) override {
        begin(source);
        return std::make_unique<ReceiveRequest>(
            state_, Address{id_, world_rank(source), world_rank(rank_), tag}, bytes,
            concat("receive of ", bytes.size(), " bytes from rank ", source, ", tag ", tag));
    }

    std::unique_ptr<Communicator> split(int color, int key) override {
        const std::int32_t mine[2] = {color, key};
        const std::vector<std::int32_t> all = all_gather(*this, std::span<const std::int32_t>(mine));
        std::vector<std::pair<int, int>> members;  // (key, rank)
        for (int rank = 0; rank < size(); ++rank) {
            const auto place = static_cast<std::size_t>(rank) * 2;
            if (all[place] == color) members.emplace_back(all[place + 1], rank);
        }
        std::sort(members.begin(), members.end());
        std::vector<int> world_ranks;
        int new_rank = 0;
        for (std::size_t i = 0; i < members.size(); ++i) {
            if (members[i].second == rank_) new_rank = static_cast<int>(i);
            world_ranks.push_back(world_rank(members[i].second));
        }
        ++num_splits_;
        const std::uint64_t id =
            (id_ * 1000003U + num_splits_) * 1000003U + static_cast<std::uint64_t>(color + 1);
        return std::make_unique<LocalCommunicator>(state_, id, std::move(world_ranks), new_rank,
                                                   concat(settings_.name, "/", color));
    }

    std::unique_ptr<Communicator> split_by_node() override {
        const int per_node = state_->options.ranks_per_node;
        return split(per_node == 0 ? 0 : world_rank(rank_) / per_node, rank_);
    }

  private:
    int world_rank(int rank) const { return members_[static_cast<std::size_t>(rank)]; }

    void begin(int peer) {
        SY_REQUIRE(peer >= 0 && peer < size(), "message to or from rank ", peer, " of ", size());
        state_->check_alive();
        state_->count_operation(world_rank(rank_));
    }

    std::shared_ptr<LocalFabric::State> state_;  // Second owner: the fabric.
    std::uint64_t id_;
    std::vector<int> members_;
    int rank_;
    Settings settings_;
    std::uint64_t num_splits_ = 0;
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
    std::vector<int> members;
    for (int rank = 0; rank < num_ranks_; ++rank) members.push_back(rank);
    for (int rank = 0; rank < num_ranks_; ++rank) {
        threads.emplace_back([&, rank] {
            try {
                LocalCommunicator world(state_, 1, members, rank, state_->options.settings.name);
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
}

}  // namespace sy::comm
