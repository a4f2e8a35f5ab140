#include "comm/ucx/ucx_communicator.hpp"

#include <algorithm>
#include <thread>

#include "comm/collectives.hpp"
#include "comm/ucx/messenger.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::comm {
namespace {

using detail::Channel;
using detail::Messenger;

/// Message: detail::Outgoing or detail::Incoming.
template <class Message>
class UcxRequest : public Request {
  public:
    /// @param peer  what the communicator calls the other rank
    UcxRequest(std::shared_ptr<Messenger> messenger, const Channel& channel, decltype(Message::bytes) bytes,
               int peer)
        : messenger_(std::move(messenger)), peer_(peer) {
        message_.channel = channel;
        message_.bytes = bytes;
        try {
            messenger_->start(message_);
        } catch (...) {
            messenger_->forget(message_);
            throw;
        }
    }
    ~UcxRequest() override {
        if (message_.over) return;
        detail::report_dropped(*this);
        messenger_->forget(message_);
    }

    bool test() override {
        if (!message_.over) {
            try {
                messenger_->progress(message_.channel.peer);
                if (!message_.over) messenger_->check(message_.channel.peer);
            } catch (const CommError& error) {
                if (!message_.over) messenger_->forget(message_);
                message_.over = has_told_ = true;
                throw CommError(concat(description(), ": ", error.what()));
            }
        }
        if (message_.over && !std::exchange(has_told_, true)) report();
        return message_.over;
    }
    std::string description() const override;

  private:
    /// @throws CommError when it is over but did not go well
    void report() const;

    std::shared_ptr<Messenger> messenger_;  // Second owners: the communicators and their other requests.
    int peer_;
    Message message_;
    bool has_told_ = false;
};

template <>
std::string UcxRequest<detail::Outgoing>::description() const {
    return concat("send of ", message_.bytes.size(), " bytes to rank ", peer_, ", tag ",
                  message_.channel.tag);
}

template <>
std::string UcxRequest<detail::Incoming>::description() const {
    return concat("receive of ", message_.bytes.size(), " bytes from rank ", peer_, ", tag ",
                  message_.channel.tag);
}

template <>
void UcxRequest<detail::Outgoing>::report() const {
    if (!message_.error.empty()) throw CommError(concat(description(), ": ", message_.error));
}

template <>
void UcxRequest<detail::Incoming>::report() const {
    if (message_.arrived_bytes != message_.bytes.size())
        throw CommError(concat(description(), ": a message of ", message_.arrived_bytes, " bytes arrived"));
}

/// Complete when this rank has nothing left to put.
class FlushRequest : public Request {
  public:
    explicit FlushRequest(Messenger& messenger) : messenger_(messenger) {}
    bool test() override { return messenger_.is_flushed(); }
    std::string description() const override { return "everything sent to be in its place"; }

  private:
    Messenger& messenger_;
};

/// A request of another communicator, during whose wait others can flush. It takes no messages, since that may put
/// something to a rank that has gone.
class WhileServing : public Request {
  public:
    WhileServing(Messenger& messenger, std::unique_ptr<Request> request)
        : messenger_(messenger), request_(std::move(request)) {}
    bool test() override {
        messenger_.serve();
        return request_->test();
    }
    std::string description() const override { return request_->description(); }

  private:
    Messenger& messenger_;
    std::unique_ptr<Request> request_;
};

class UcxCommunicator : public Communicator {
  public:
    /// @param members  the ranks of the world, by rank here
    /// @param wire_up  for the world: what ends its close(); else null
    UcxCommunicator(std::shared_ptr<Messenger> messenger, std::uint64_t id, PerRank<int> members,
                    Communicator* wire_up, Settings settings)
        : messenger_(std::move(messenger)),
          id_(id),
          members_(std::move(members)),
          wire_up_(wire_up),
          settings_(std::move(settings)) {
        const auto mine = std::find(members_.begin(), members_.end(), messenger_->world_rank());
        rank_ = static_cast<int>(mine - members_.begin());
        if (wire_up_ == nullptr) return;
        belong_with(*wire_up_);
        begin_to_accompany();
    }
    ~UcxCommunicator() override { end_accompanying(); }

    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(members_.size()); }
    const Settings& settings() const override { return settings_; }
    Messenger& messenger() { return *messenger_; }

    std::unique_ptr<Request> send(std::span<const std::byte> bytes, int destination, int tag) override {
        check_open();
        detail::check_message(*this, destination, tag);
        return std::make_unique<UcxRequest<detail::Outgoing>>(
            messenger_, Channel{id_, members_[destination], tag}, bytes, destination);
    }

    std::unique_ptr<Request> receive(std::span<std::byte> bytes, int source, int tag) override {
        check_open();
        detail::check_message(*this, source, tag);
        return std::make_unique<UcxRequest<detail::Incoming>>(messenger_, Channel{id_, members_[source], tag},
                                                              bytes, source);
    }

    void poll() override {
        messenger_->poll();
        if (wire_up_ != nullptr) wire_up_->poll();
    }

    std::unique_ptr<Communicator> split(int color, int key) override {
        check_open();
        SY_REQUIRE(color >= 0, settings_.name, ": split by colour ", color);
        return split_as(color, key, concat(settings_.name, "/", color));
    }

    std::unique_ptr<Communicator> split_by_node() override {
        check_open();
        return split_as(messenger_->node(), rank_, settings_.name + "/node");
    }

    void close() override {
        if (is_closed_) return;
        barrier(*this);
        end_accompanying();
        if (wire_up_ != nullptr) finish();
        is_closed_ = true;
        messenger_->forget_communicator(id_);
    }

  private:
    void check_open() const { SY_REQUIRE(!is_closed_, settings_.name, ": used after close"); }

    std::unique_ptr<Communicator> split_as(int color, int key, std::string name) {
        // Every rank offers a number that no communicator has; the first member's becomes the part's.
        const std::int64_t mine[3] = {color, key, static_cast<std::int64_t>(messenger_->new_communicator())};
        const std::vector<std::int64_t> all = all_gather(*this, std::span<const std::int64_t>(mine));
        const MatrixView<const std::int64_t> offered(all.data(), size(), 3);
        std::vector<std::pair<std::int64_t, int>> chosen;  // (key, rank)
        for (int rank = 0; rank < size(); ++rank) {
            if (offered(rank, 0) == color) chosen.emplace_back(offered(rank, 1), rank);
        }
        std::sort(chosen.begin(), chosen.end());
        PerRank<int> members;
        for (const auto& [_, rank] : chosen) members.push_back(members_[rank]);
        Settings settings = settings_;
        settings.name = std::move(name);
        const auto id = static_cast<std::uint64_t>(offered(chosen.front().second, 2));
        auto part = std::make_unique<UcxCommunicator>(messenger_, id, std::move(members), nullptr,
                                                      std::move(settings));
        part->belong_with(*this);
        return part;
    }

    /// Returns when nobody needs this rank any more, for which it takes messages that do not go through UCX: those that
    /// do, a rank would have to answer after its last one.
    void finish() {
        std::vector<std::unique_ptr<Request>> requests;
        requests.push_back(std::make_unique<FlushRequest>(*messenger_));
        wait_all(*this, requests, "close");
        for (int distance = 1; distance < size(); distance *= 2) {
            requests.clear();
            const int left = (rank_ + size() - distance) % size();
            const int right = (rank_ + distance) % size();
            for (const bool receives : {true, false}) {
                requests.push_back(std::make_unique<WhileServing>(
                    *messenger_, receives ? wire_up_->receive({}, left, kMaxInternalTag)
                                          : wire_up_->send({}, right, kMaxInternalTag)));
            }
            wait_all(*this, requests, "close");
        }
        messenger_->release();
    }

    std::shared_ptr<Messenger> messenger_;  // Second owners: parts of this communicator, and requests.
    std::uint64_t id_;
    PerRank<int> members_;
    Communicator* wire_up_;
    Settings settings_;
    int rank_ = 0;
    bool is_closed_ = false;
};

}  // namespace

bool ucx_available() {
    return true;
}

std::unique_ptr<Communicator> connect_ucx(Communicator& wire_up, Communicator::Settings settings) {
    const std::unique_ptr<Communicator> node = wire_up.split_by_node();
    std::int32_t leader = wire_up.rank();
    broadcast(*node, std::span<std::int32_t>(&leader, 1), 0);
    // A rank that spins would keep the core from the one it waits for.
    if (node->size() > static_cast<int>(std::thread::hardware_concurrency()))
        settings.spin = std::chrono::microseconds(0);
    node->close();
    const std::vector<std::int32_t> leaders = all_gather(wire_up, std::span<const std::int32_t>(&leader, 1));
    PerRank<int> members;
    for (int rank = 0; rank < wire_up.size(); ++rank) members.push_back(rank);
    const auto messenger = std::make_shared<Messenger>(wire_up, PerRank<int>(leaders));
    // Ranks that UCX cannot reach are known from the start.
    UcxCommunicator first(messenger, 0, members, &wire_up, wire_up.settings());
    barrier(first);
    return std::make_unique<UcxCommunicator>(messenger, 0, std::move(members), &wire_up, std::move(settings));
}

namespace {

Messenger& messenger_of(Communicator& ucx) {
    auto* const body = dynamic_cast<UcxCommunicator*>(&ucx);
    SY_REQUIRE(body != nullptr, ucx.settings().name, ": no communicator of UCX");
    return body->messenger();
}

}  // namespace

std::function<std::byte*(index_t)> ucx_slabs(Communicator& ucx) {
    return [&messenger = messenger_of(ucx)](index_t bytes) { return messenger.new_slab(bytes); };
}

index_t ucx_bytes(Communicator& ucx) {
    return messenger_of(ucx).reserved_bytes();
}

}  // namespace sy::comm
