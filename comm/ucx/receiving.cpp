// The receiving half: what comes out of the rings, and the places of receives.
#include <algorithm>

#include "comm/ucx/messenger.hpp"

namespace sy::comm::detail {

void Messenger::start(Incoming& message) {
    check(message.channel.peer);
    Box& box = boxes_[message.channel];
    message.number = box.num_receives++;
    Early early;
    const bool is_here = take(box.early, message.number, early);
    if (is_here && !early.is_announcement) return deliver(message, early.bytes);
    box.receives.push_back(&message);
    if (is_here || message.bytes.size() > kShortBytes) send_ready(message);
}

void Messenger::forget(Incoming& message) {
    const auto box = boxes_.find(message.channel);
    if (box != boxes_.end()) std::erase(box->second.receives, &message);
    if (message.is_ready)
        broken_ =
            "UCX: a receive was given up while its sender may write to it: nothing more is sent or received";
}

std::size_t Messenger::slab_of(std::span<const std::byte> bytes) const {
    std::size_t slab = 0;
    while (slab < slabs_.size() && !slabs_[slab]->contains(bytes)) ++slab;
    return slab;
}

void Messenger::send_ready(Incoming& message) {
    message.is_ready = true;
    Record record{.communicator = message.channel.communicator,
                  .number = message.number,
                  .size = message.bytes.size(),
                  .address = reinterpret_cast<std::uint64_t>(message.bytes.data()),
                  .tag = message.channel.tag,
                  .kind = RecordKind::ready};
    std::string_view key;
    std::vector<bool>& known = peers_[message.channel.peer].knows_slab;
    known.resize(slabs_.size());
    if (const std::size_t slab = slab_of(message.bytes); slab < slabs_.size()) {
        record.slab = slab + 1;
        if (!known[slab]) key = slabs_[slab]->key();
        known[slab] = true;
    } else if (nodes_[message.channel.peer] != node() && !message.bytes.empty()) {
        message.region = std::make_unique<Region>(wire_.context(), message.bytes);
        key = message.region->key();
    }
    send_record(message.channel.peer, record, key);
}

bool Messenger::drain(int rank) {
    Peer& peer = peers_[rank];
    const auto ring_bytes = static_cast<std::uint64_t>(layout_.ring_bytes());
    const std::uint64_t produced = wire_.counter(layout_.counter(rank));
    if (produced == peer.credit.consumed) return false;
    const std::byte* const ring = wire_.window() + layout_.ring(rank);
    while (peer.credit.consumed != produced) {
        const std::uint64_t begin = peer.credit.consumed;
        const std::uint64_t offset = begin % ring_bytes;
        Record record;
        std::memcpy(&record, ring + offset, sizeof(record));
        const std::uint64_t bytes = record.end - begin;
        if (record.position != begin || bytes < sizeof(record) || bytes > produced - begin ||
            bytes > ring_bytes - offset || record.following_bytes > bytes - sizeof(record))
            throw CommError(concat("UCX: the ring from rank ", rank, " holds no record at byte ", begin,
                                   ", although it should reach to ", produced));
        // What is handled is not consumed twice, even when an error ends it half-way.
        peer.credit.consumed = record.end;
        handle(rank, record, ring + offset + sizeof(record));
    }
    report_credit(rank);
    return true;
}

void Messenger::report_credit(int rank) {
    Peer& peer = peers_[rank];
    const auto quarter = static_cast<std::uint64_t>(layout_.ring_bytes()) / 4;
    if (peer.credit.consumed - peer.reported.consumed < quarter &&
        peer.credit.matched - peer.reported.matched < kEarlyBytes / 4)
        return;
    peer.reported = peer.credit;
    // A put that is under way reads what is newest, which is as true.
    wire_.put(rank, std::as_bytes(std::span(&peer.credit, 1)), layout_.credit(rank_));
}

void Messenger::handle(int rank, const Record& record, const std::byte* payload) {
    if (record.kind == RecordKind::skip) return;
    Box& box = boxes_[{record.communicator, rank, record.tag}];
    if (record.kind == RecordKind::ready) return handle_ready(box, rank, record, payload);
    if (record.kind == RecordKind::announce) return handle_announcement(box, record);
    if (record.kind == RecordKind::part) return handle_part(box, rank, record, payload);
    Incoming* message = nullptr;
    const bool is_expected = take(box.receives, record.number, message);
    const std::span<const std::byte> bytes(payload, record.following_bytes);
    if (record.kind == RecordKind::message) {
        if (is_expected) return deliver(*message, bytes);
        box.early.push_back({record.number, record.size, false, {bytes.begin(), bytes.end()}});
    } else if (record.kind == RecordKind::done && is_expected) {
        finish(*message, record.size);
    } else {
        refuse(rank, record);
    }
}

void Messenger::refuse(int rank, const Record& record) const {
    throw CommError(concat("UCX: rank ", rank, " has sent ", record.following_bytes, " of ", record.size,
                           " bytes, tag ", record.tag, ", which nobody receives so"));
}

void Messenger::handle_announcement(Box& box, const Record& record) {
    const auto found = std::find_if(box.receives.begin(), box.receives.end(),
                                    [&](const Incoming* one) { return one->number == record.number; });
    if (found == box.receives.end()) {
        box.early.push_back({record.number, record.size, true, {}});
    } else if (!(*found)->is_ready) {
        send_ready(**found);
    }
}

void Messenger::handle_part(Box& box, int rank, const Record& record, const std::byte* payload) {
    const auto found = std::find_if(box.receives.begin(), box.receives.end(),
                                    [&](const Incoming* one) { return one->number == record.number; });
    if (found == box.receives.end() || record.address != (*found)->parted_bytes ||
        record.size != (*found)->bytes.size() || record.following_bytes > record.size - record.address)
        refuse(rank, record);
    Incoming& message = **found;
    std::memcpy(message.bytes.data() + record.address, payload, record.following_bytes);
    message.parted_bytes += record.following_bytes;
    if (message.parted_bytes < record.size) return;
    box.receives.erase(found);
    finish(message, record.size);
}

void Messenger::finish(Incoming& message, std::uint64_t size) {
    message.arrived_bytes = size;
    message.region.reset();
    message.over = true;
}

void Messenger::deliver(Incoming& message, std::span<const std::byte> bytes) {
    finish(message, bytes.size());
    if (bytes.size() == message.bytes.size() && !bytes.empty())
        std::memcpy(message.bytes.data(), bytes.data(), bytes.size());
    peers_[message.channel.peer].credit.matched += bytes.size();
    report_credit(message.channel.peer);
}

void Messenger::handle_ready(Box& box, int rank, const Record& record, const std::byte* payload) {
    Ready ready{record.number, record.size, record.address, nullptr, nullptr};
    auto& slab_keys = peers_[rank].slab_keys;
    if (record.following_bytes > 0) {
        RemoteKey key = wire_.unpack_key(rank, payload);
        ready.key = key.get();
        (record.slab == 0 ? ready.owned_key : slab_keys[record.slab]) = std::move(key);
    } else if (record.slab != 0) {
        const auto known = slab_keys.find(record.slab);
        if (known == slab_keys.end()) refuse(rank, record);
        ready.key = known->second.get();
    }
    Outgoing* message = nullptr;
    if (take(box.sends, record.number, message)) {
        send_long(*message, std::move(ready));
    } else if (record.number >= box.num_sent) {
        box.readies.push_back(std::move(ready));
    }
}

}  // namespace sy::comm::detail
