#include "comm/ucx/messenger.hpp"

#include <algorithm>

namespace sy::comm::detail {
namespace {

/// What follows a record is copied behind it up to this size, to be put with it.
constexpr std::size_t kCopiedBytes = 1024;

}  // namespace

Messenger::Messenger(Communicator& wire_up, PerRank<int> nodes)
    : rank_(wire_up.rank()),
      num_ranks_(wire_up.size()),
      nodes_(std::move(nodes)),
      layout_(num_ranks_),
      wire_(wire_up, nodes_, layout_.bytes()),
      peers_(num_ranks_) {}

std::uint64_t Messenger::new_communicator() {
    return (static_cast<std::uint64_t>(rank_ + 1) << 32) + num_communicators_++;
}

void Messenger::forget_communicator(std::uint64_t communicator) {
    std::erase_if(boxes_, [&](const auto& entry) { return entry.first.communicator == communicator; });
}

std::byte* Messenger::new_slab(index_t bytes) {
    slabs_.push_back(std::make_unique<Region>(wire_.context(), bytes));
    return slabs_.back()->data();
}

index_t Messenger::reserved_bytes() const {
    index_t bytes = layout_.bytes();
    for (const std::unique_ptr<Region>& slab : slabs_) bytes += slab->bytes();
    for (const Peer& peer : peers_) bytes += static_cast<index_t>(peer.mirror.size());
    return bytes;
}

void Messenger::check(int rank) const {
    if (!broken_.empty()) throw CommError(broken_);
    if (!wire_.failure(rank).empty()) throw CommError(wire_.failure(rank));
}

void Messenger::start(Outgoing& message) {
    const int rank = message.channel.peer;
    check(rank);
    Box& box = boxes_[message.channel];
    message.number = box.num_sent++;
    Ready ready;
    const bool is_expected = take(box.readies, message.number, ready);
    const std::uint64_t size = message.bytes.size();
    const std::uint64_t waiting = peers_[rank].sent_bytes - credit_of(rank).matched;
    message.is_long = size > kShortBytes || (size > 0 && waiting + size > kEarlyBytes);
    if (!message.is_long) {
        // A receive that expects a long message learns from the record that it is wrong.
        peers_[rank].sent_bytes += size;
        queue(message);
    } else if (is_expected) {
        send_long(message, std::move(ready));
    } else {
        box.sends.push_back(&message);
        send_record(rank,
                    {.communicator = message.channel.communicator,
                     .number = message.number,
                     .size = size,
                     .tag = message.channel.tag,
                     .kind = RecordKind::announce},
                    {});
    }
}

void Messenger::forget(Outgoing& message) {
    std::erase(moving_, &message);
    std::erase(peers_[message.channel.peer].sends, &message);
    const auto box = boxes_.find(message.channel);
    if (box != boxes_.end()) std::erase(box->second.sends, &message);
}

Credit Messenger::credit_of(int rank) const {
    const index_t credit = layout_.credit(rank);
    return {wire_.counter(credit + index_t{offsetof(Credit, consumed)}),
            wire_.counter(credit + index_t{offsetof(Credit, matched)})};
}

bool Messenger::put_record(int rank, Record record, std::span<const std::byte> payload,
                           std::vector<UcxOperation>& operations) {
    Peer& peer = peers_[rank];
    const auto ring_bytes = static_cast<std::uint64_t>(layout_.ring_bytes());
    if (peer.mirror.empty()) peer.mirror.resize(ring_bytes);
    const auto bytes =
        static_cast<std::uint64_t>(round_up(static_cast<index_t>(sizeof(Record) + payload.size()), kLine));
    const std::uint64_t to_end = ring_bytes - peer.written % ring_bytes;
    const std::uint64_t skipped = bytes > to_end ? to_end : 0;
    const std::uint64_t consumed = credit_of(rank).consumed;
    if (consumed > peer.written)
        throw CommError(concat("UCX: rank ", rank, " has received what was not sent"));
    if (peer.written + skipped + bytes - consumed > ring_bytes) return false;
    const auto put = [&](std::span<const std::byte> source, std::uint64_t position) {
        return wire_.put(rank, source, layout_.ring(rank_) + static_cast<index_t>(position % ring_bytes));
    };
    const auto mirror = [&](std::uint64_t position) { return peer.mirror.data() + position % ring_bytes; };
    if (skipped > 0) {
        const Record skip{.position = peer.written, .end = peer.written + skipped};
        std::memcpy(mirror(peer.written), &skip, sizeof(skip));
        put({mirror(peer.written), sizeof(skip)}, peer.written);
        peer.written += skipped;
    }
    record.following_bytes = narrow<std::uint16_t>(payload.size());
    record.position = peer.written;
    record.end = peer.written + bytes;
    std::byte* const copy = mirror(peer.written);
    std::memcpy(copy, &record, sizeof(record));
    if (payload.size() <= kCopiedBytes) {
        if (!payload.empty()) std::memcpy(copy + sizeof(record), payload.data(), payload.size());
        put({copy, sizeof(record) + payload.size()}, peer.written);
    } else {
        put({copy, sizeof(record)}, peer.written);
        UcxOperation operation = put(payload, peer.written + sizeof(record));
        if (!operation.is_over()) operations.push_back(std::move(operation));
    }
    peer.written = record.end;
    wire_.fence();
    wire_.put(rank, {copy + offsetof(Record, end), sizeof(record.end)}, layout_.counter(rank_));
    return true;
}

void Messenger::send_record(int rank, const Record& record, std::string_view payload) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span<const char>(payload));
    std::vector<UcxOperation> none;
    Peer& peer = peers_[rank];
    SY_REQUIRE(bytes.size() <= kCopiedBytes, "UCX: a key of ", bytes.size(), " bytes");
    if (peer.records.empty() && put_record(rank, record, bytes, none)) return;
    std::vector<std::byte> waiting(sizeof(record) + bytes.size());
    std::memcpy(waiting.data(), &record, sizeof(record));
    if (!bytes.empty()) std::memcpy(waiting.data() + sizeof(record), bytes.data(), bytes.size());
    peer.records.push_back(std::move(waiting));
}

bool Messenger::send_in_records(Outgoing& message) {
    Record record{.communicator = message.channel.communicator,
                  .number = message.number,
                  .size = message.bytes.size(),
                  .tag = message.channel.tag,
                  .kind = RecordKind::message};
    const int rank = message.channel.peer;
    if (!message.is_long) {
        if (!put_record(rank, record, message.bytes, message.operations)) return false;
    } else {
        record.kind = RecordKind::part;
        const std::size_t most = static_cast<std::size_t>(layout_.ring_bytes()) / 8 - sizeof(Record);
        while (message.parted_bytes < message.bytes.size()) {
            record.address = message.parted_bytes;
            const auto rest = message.bytes.subspan(message.parted_bytes);
            const auto part = rest.first(std::min(most, rest.size()));
            if (!put_record(rank, record, part, message.operations)) return false;
            message.parted_bytes += part.size();
        }
    }
    message.over = message.operations.empty();
    if (!message.over) moving_.push_back(&message);
    return true;
}

void Messenger::queue(Outgoing& message) {
    const int rank = message.channel.peer;
    send_queued(rank);
    if (!peers_[rank].sends.empty() || !send_in_records(message)) peers_[rank].sends.push_back(&message);
}

void Messenger::send_queued(int rank) {
    Peer& peer = peers_[rank];
    while (!peer.records.empty()) {
        const std::vector<std::byte>& front = peer.records.front();
        Record record;
        std::memcpy(&record, front.data(), sizeof(record));
        std::vector<UcxOperation> none;
        if (!put_record(rank, record, std::span(front).subspan(sizeof(record)), none)) return;
        peer.records.pop_front();
    }
    while (!peer.sends.empty() && send_in_records(*peer.sends.front())) peer.sends.pop_front();
}

void Messenger::send_done(Outgoing& message) {
    send_record(message.channel.peer,
                {.communicator = message.channel.communicator,
                 .number = message.number,
                 .size = message.bytes.size(),
                 .tag = message.channel.tag,
                 .kind = RecordKind::done},
                {});
    message.over = true;
}

void Messenger::send_long(Outgoing& message, Ready ready) {
    if (ready.size != message.bytes.size()) return send_done(message);
    if (ready.key == nullptr) return queue(message);
    message.key = std::move(ready.owned_key);
    wire_.put(message.channel.peer, message.bytes, ready.address, ready.key);
    UcxOperation flush = wire_.flush(message.channel.peer);
    if (flush.is_over()) return send_done(message);
    message.operations.push_back(std::move(flush));
    moving_.push_back(&message);
}

void Messenger::advance(Outgoing& message) {
    try {
        std::erase_if(message.operations, [](UcxOperation& one) { return one.is_over(); });
        if (!message.operations.empty()) return;
        if (message.is_long && message.parted_bytes == 0) send_done(message);
    } catch (const CommError& error) {
        message.error = error.what();
    }
    message.over = true;
    std::erase(moving_, &message);
}

void Messenger::progress(int rank) {
    bool has_moved = drain(rank);
    // Polling the transports costs more than looking at a ring.
    if (!has_moved || ++num_rounds_ % 8 == 0) {
        wire_.progress();
        has_moved = drain(rank) || has_moved;
    }
    turn_ = turn_ + 1 < num_ranks_ ? turn_ + 1 : 0;
    drain(turn_);
    for (const int one : {rank, turn_}) send_queued(one);
    // From the back, as what is over leaves the list.
    for (std::size_t i = moving_.size(); i-- > 0;) advance(*moving_[i]);
}

void Messenger::poll() {
    if (!broken_.empty()) throw CommError(broken_);
    if (wire_.failed_rank() >= 0) throw CommError(wire_.failure(wire_.failed_rank()));
    for (int rank = 0; rank < num_ranks_; ++rank) progress(rank);
}

bool Messenger::is_flushed() {
    poll();
    const bool is_sent = moving_.empty() && std::all_of(peers_.begin(), peers_.end(), [](const Peer& peer) {
                             return peer.records.empty() && peer.sends.empty();
                         });
    if (!is_sent) return false;
    if (!is_flushing_) last_flush_ = wire_.flush_all();
    is_flushing_ = true;
    return last_flush_.is_over();
}

}  // namespace sy::comm::detail
