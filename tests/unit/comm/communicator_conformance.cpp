// What every Communicator must do.
#include <numeric>
#include <thread>

#include "comm/collectives.hpp"
#include "tests/unit/comm/conformance.hpp"

namespace sy::test {
namespace {

using namespace sy::comm;
using Requests = std::vector<std::unique_ptr<Request>>;
using Bytes = std::vector<std::byte>;

int right_of(const Communicator& comm) {
    return (comm.rank() + 1) % comm.size();
}
int left_of(const Communicator& comm) {
    return (comm.rank() + comm.size() - 1) % comm.size();
}

void wait_one(Communicator& comm, std::unique_ptr<Request> request) {
    Requests requests;
    requests.push_back(std::move(request));
    wait_all(comm, requests, "conformance");
}

/// Without a deadline: for what comes for certain, but under load perhaps late.
void finish(Request& request) {
    while (!request.test()) std::this_thread::yield();
}

void require_pattern(const Bytes& bytes, int source, int tag) {
    require_equal<unsigned char>(
        {reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()},
        {reinterpret_cast<const unsigned char*>(pattern_message(source, tag, bytes.size()).data()),
         bytes.size()},
        concat("message of ", bytes.size(), " bytes from rank ", source, ", tag ", tag));
}

constexpr std::size_t kPiece = kSmallPieceBytes;

/// Sizes at and around whole pieces, and beyond every eager limit.
constexpr std::size_t kSizes[] = {
    0,          1,    kPiece - 1, kPiece, kPiece + 1, 2 * kPiece - 1, 2 * kPiece, 2 * kPiece + 1,
    3 * kPiece, 4096, 8192,       8193,   100000};
constexpr int kNumSizes = static_cast<int>(std::size(kSizes));

void messages_of_any_size(Communicator& world) {
    for (const std::size_t size : kSizes) {
        const Bytes outgoing = pattern_message(world.rank(), 3, size);
        Bytes incoming(size);
        Requests requests;
        requests.push_back(world.send(outgoing, right_of(world), 3));
        requests.push_back(world.receive(incoming, left_of(world), 3));
        wait_all(world, requests, "conformance");
        require_pattern(incoming, left_of(world), 3);
    }
}

void empty_message_is_matched(Communicator& world) {
    // Were the empty message lost, the first receive would meet the message of 5 bytes.
    const Bytes outgoing = pattern_message(world.rank(), 4, 5);
    Bytes incoming(5);
    Requests requests;
    requests.push_back(world.send({}, right_of(world), 4));
    requests.push_back(world.send(outgoing, right_of(world), 4));
    requests.push_back(world.receive({}, left_of(world), 4));
    wait_one(world, world.receive(incoming, left_of(world), 4));
    wait_all(world, requests, "conformance");
    require_pattern(incoming, left_of(world), 4);
}

void equal_tags_arrive_in_order(Communicator& world) {
    constexpr int kMessages = 2 * kNumSizes;
    std::vector<Bytes> outgoing;
    for (int number = 0; number < kMessages; ++number)
        outgoing.push_back(pattern_message(world.rank(), number, kSizes[number % kNumSizes]));
    Requests sends;
    for (int peer = 0; peer < world.size(); ++peer) {
        for (const Bytes& bytes : outgoing) sends.push_back(world.send(bytes, peer, 9));
    }
    for (int peer = 0; peer < world.size(); ++peer) {
        for (int number = 0; number < kMessages; ++number) {
            Bytes incoming(kSizes[number % kNumSizes]);
            wait_one(world, world.receive(incoming, peer, 9));
            require_pattern(incoming, peer, number);
        }
    }
    wait_all(world, sends, "conformance");
}

void tags_do_not_mix(Communicator& world) {
    constexpr int kTags = 32;
    std::vector<Bytes> outgoing;
    Requests sends;
    for (int tag = 0; tag < kTags; ++tag)
        outgoing.push_back(pattern_message(world.rank(), tag, 10 + static_cast<std::size_t>(tag)));
    for (int tag = 0; tag < kTags; ++tag)
        sends.push_back(world.send(outgoing[static_cast<std::size_t>(tag)], right_of(world), tag));
    for (int tag = kTags - 1; tag >= 0; --tag) {
        Bytes incoming(10 + static_cast<std::size_t>(tag));
        wait_one(world, world.receive(incoming, left_of(world), tag));
        require_pattern(incoming, left_of(world), tag);
    }
    wait_all(world, sends, "conformance");
}

void a_rank_sends_to_itself(Communicator& world) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{9}, std::size_t{1} << 20}) {
        const Bytes outgoing = pattern_message(world.rank(), kMaxTag, size);
        Bytes incoming(size);
        Requests requests;
        requests.push_back(world.send(outgoing, world.rank(), kMaxTag));
        requests.push_back(world.receive(incoming, world.rank(), kMaxTag));
        wait_all(world, requests, "conformance");
        require_pattern(incoming, world.rank(), kMaxTag);
    }
}

void many_messages_outstanding(Communicator& world) {
    constexpr int kMessages = 500;
    const auto size_of = [](int source, int tag) {
        return static_cast<std::size_t>((source * 17 + tag * 5) % 300 * 7);
    };
    std::vector<Bytes> buffers;
    Requests requests;
    std::vector<std::size_t> incoming;  // positions in buffers
    for (int peer = 0; peer < world.size(); ++peer) {
        // Tags in another order than they are sent.
        for (int i = 0; i < kMessages; ++i) {
            const int tag = i * 7 % kMessages;
            buffers.emplace_back(size_of(peer, tag));
            requests.push_back(world.receive(buffers.back(), peer, tag));
        }
    }
    std::vector<Bytes> outgoing;
    for (int tag = 0; tag < kMessages; ++tag)
        outgoing.push_back(pattern_message(world.rank(), tag, size_of(world.rank(), tag)));
    for (int peer = 0; peer < world.size(); ++peer) {
        for (int tag = 0; tag < kMessages; ++tag)
            requests.push_back(world.send(outgoing[static_cast<std::size_t>(tag)], peer, tag));
    }
    wait_all(world, requests, "conformance");
    for (int peer = 0; peer < world.size(); ++peer) {
        for (int i = 0; i < kMessages; ++i)
            require_pattern(buffers[static_cast<std::size_t>(peer * kMessages + i)], peer, i * 7 % kMessages);
    }
}

void another_size_is_refused(Communicator& world) {
    // Also sizes that differ by whole pieces, where every piece by itself looks right.
    constexpr std::pair<std::size_t, std::size_t> kSentAndExpected[] = {{10, 12},
                                                                        {12, 10},
                                                                        {0, 1},
                                                                        {1, 0},
                                                                        {2 * kPiece, 3 * kPiece},
                                                                        {3 * kPiece, 2 * kPiece},
                                                                        {kPiece, 0},
                                                                        {0, kPiece},
                                                                        {100000, 50000},
                                                                        {50000, 100000}};
    int tag = 100;
    for (const auto& [sent, expected] : kSentAndExpected) {
        ++tag;
        const Bytes outgoing(sent);
        // Room for the longer message: a transport may have written it before it says that it is too long.
        Bytes room(std::max(sent, expected));
        const std::span<std::byte> incoming = std::span<std::byte>(room).first(expected);
        const std::unique_ptr<Request> send = world.send(outgoing, right_of(world), tag);
        const std::string text =
            require_throws<CommError>([&] { wait_one(world, world.receive(incoming, left_of(world), tag)); },
                                      concat(sent, " bytes arriving in a receive of ", expected));
        SY_REQUIRE(text.find(concat("receive of ", expected, " bytes from rank ", left_of(world), ", tag ",
                                    tag)) != std::string::npos,
                   "the message does not name the receive: ", text);
        SY_REQUIRE(text.find("still waiting") == std::string::npos, "a deadline passed instead: ", text);
        barrier(world);
        // The sender has done nothing wrong: what it sent is consumed or buffered.
        finish(*send);
    }
}

void test_never_blocks(Communicator& world) {
    // A receive cannot be over before its sender has heard that it was tested.
    Bytes incoming(4);
    const Bytes outgoing = pattern_message(world.rank(), 6, 4);
    const std::unique_ptr<Request> request = world.receive(incoming, left_of(world), 6);
    SY_REQUIRE(!request->test(), "a receive is over before anything was sent");
    SY_REQUIRE(request->description() == concat("receive of 4 bytes from rank ", left_of(world), ", tag 6"),
               request->description());
    Requests requests;
    requests.push_back(world.send({}, left_of(world), 5));
    requests.push_back(world.receive({}, right_of(world), 5));
    wait_all(world, requests, "conformance");
    const std::unique_ptr<Request> send = world.send(outgoing, right_of(world), 6);
    SY_REQUIRE(send->description() == concat("send of 4 bytes to rank ", right_of(world), ", tag 6"),
               send->description());
    finish(*request);
    finish(*send);
    SY_REQUIRE(request->test(), "a receive that was over is not any more");
    require_pattern(incoming, left_of(world), 6);
}

void wrong_peers_and_tags_are_refused(Communicator& world) {
    Bytes bytes(1);
    for (const int peer : {-1, world.size()}) {
        require_throws<LogicError>([&] { world.send(bytes, peer, 0); }, concat("send to rank ", peer));
        require_throws<LogicError>([&] { world.receive(bytes, peer, 0); },
                                   concat("receive from rank ", peer));
    }
    for (const int tag : {-1, 32767}) {
        require_throws<LogicError>([&] { world.send(bytes, 0, tag); }, concat("send with tag ", tag));
        require_throws<LogicError>([&] { world.receive(bytes, 0, tag); }, concat("receive with tag ", tag));
    }
}

/// The world ranks of a communicator's members, in its order.
std::vector<std::int32_t> members(Communicator& comm, const Communicator& world) {
    const std::int32_t mine = world.rank();
    return all_gather(comm, std::span<const std::int32_t>(&mine, 1));
}

void split_orders_by_key_then_rank(Communicator& world) {
    // Keys descend in steps of two ranks: (0 1)(2 3) become (2 3)(0 1) inside a colour.
    const std::unique_ptr<Communicator> part = world.split(world.rank() % 2, -(world.rank() / 4));
    std::vector<std::int32_t> expected;
    for (int rank = world.rank() % 2; rank < world.size(); rank += 2) expected.push_back(rank);
    std::stable_sort(expected.begin(), expected.end(),
                     [](std::int32_t a, std::int32_t b) { return a / 4 > b / 4; });
    require_equal<std::int32_t>(members(*part, world), expected, "members of a part");
    SY_REQUIRE(expected[static_cast<std::size_t>(part->rank())] == world.rank() &&
                   part->size() == static_cast<int>(expected.size()),
               "rank ", part->rank(), " of ", part->size());
    SY_REQUIRE(part->settings().deadline == world.settings().deadline, "a part has another deadline");
    part->close();
    require_throws<LogicError>([&] { static_cast<void>(world.split(-1, 0)); }, "a negative colour");
}

void communicators_do_not_mix(Communicator& world) {
    // The same peers and the same tag on the world, on two equal parts, and on large colours.
    std::vector<std::unique_ptr<Communicator>> same;
    for (const int color : {0, 0, 1000003, 2000006}) same.push_back(world.split(color, world.rank()));
    std::vector<Bytes> outgoing;
    for (int i = 0; i < 5; ++i) outgoing.push_back(pattern_message(world.rank(), i, 11));
    Requests sends;
    sends.push_back(world.send(outgoing[4], right_of(world), 2));
    for (std::size_t i = 0; i < 4; ++i) sends.push_back(same[i]->send(outgoing[i], right_of(world), 2));
    for (int i = 3; i >= 0; --i) {
        Bytes incoming(11);
        Communicator& part = *same[static_cast<std::size_t>(i)];
        wait_one(part, part.receive(incoming, left_of(world), 2));
        require_pattern(incoming, left_of(world), i);
    }
    Bytes incoming(11);
    wait_one(world, world.receive(incoming, left_of(world), 2));
    require_pattern(incoming, left_of(world), 4);
    wait_all(world, sends, "conformance");
    for (const auto& part : same) part->close();
}

void parts_are_split_again(Communicator& world) {
    const std::unique_ptr<Communicator> half = world.split(world.rank() / 2, world.rank());
    const std::unique_ptr<Communicator> alone = half->split(half->rank(), 0);
    SY_REQUIRE(alone->size() == 1 && alone->rank() == 0, "a part of one rank has ", alone->size());
    const std::unique_ptr<Communicator> reversed = half->split(0, -half->rank());
    std::vector<std::int32_t> expected = members(*half, world);
    std::reverse(expected.begin(), expected.end());
    require_equal<std::int32_t>(members(*reversed, world), expected, "members of a part of a part");
    barrier(*alone);
    alone->close();
    reversed->close();
    half->close();
}

void nodes_part_the_world(Communicator& world) {
    const std::unique_ptr<Communicator> node = world.split_by_node();
    const std::vector<std::int32_t> mates = members(*node, world);
    SY_REQUIRE(std::is_sorted(mates.begin(), mates.end()), "ranks of a node are not in their order");
    SY_REQUIRE(mates[static_cast<std::size_t>(node->rank())] == world.rank(),
               "this rank is not where it says");
    // Every rank is on one node: the nodes' sizes, counted once by each leader, add up to the world.
    std::int64_t counted = node->rank() == 0 ? node->size() : 0;
    all_reduce(world, std::span<std::int64_t>(&counted, 1));
    SY_REQUIRE(counted == world.size(), "nodes hold ", counted, " ranks of ", world.size());
    node->close();
}

void closed_communicators_refuse(Communicator& world) {
    const std::unique_ptr<Communicator> part = world.split(0, 0);
    barrier(*part);
    part->close();
    Bytes bytes(1);
    require_throws<LogicError>([&] { part->send(bytes, 0, 0); }, "a send after close");
    require_throws<LogicError>([&] { part->receive(bytes, 0, 0); }, "a receive after close");
    require_throws<LogicError>([&] { static_cast<void>(part->split(0, 0)); }, "a split after close");
    part->close();
    barrier(world);
}

/// Waits for a message that comes only once the deadline has passed; then the same requests are waited for again.
void late_message_is_named(Communicator& world) {
    const int late = world.size() - 1;
    if (world.size() == 1) {
        const Bytes bytes_sent(10);
        Bytes bytes(10);
        Requests requests;
        requests.push_back(world.receive(bytes, 0, 7));
        require_throws<TimeoutError>([&] { wait_all(world, requests, "a message to itself"); },
                                     "a late message");
        finish(*world.send(bytes_sent, 0, 7));
        finish(*requests[0]);
        return;
    }
    if (world.rank() == late) {
        for (int peer = 0; peer < late; ++peer) {
            // Told by its peer, whose deadline has then passed.
            finish(*world.receive({}, peer, 8));
            const Bytes outgoing = pattern_message(late, 7, 10);
            finish(*world.send(outgoing, peer, 7));
        }
        return;
    }
    Bytes bytes(10);
    Requests requests;
    requests.push_back(world.receive(bytes, late, 7));
    const Clock::time_point start = Clock::now();
    const std::string text = require_throws<TimeoutError>(
        [&] { wait_all(world, requests, "exchange of wagons"); }, "a late message");
    const auto waited = Clock::now() - start;
    // On a machine with other work the exception may come much later than the deadline, but not as late as the default's.
    SY_REQUIRE(waited >= world.settings().deadline && waited < std::chrono::seconds(60), "waited ",
               std::chrono::duration_cast<std::chrono::milliseconds>(waited).count(), " ms");
    for (const std::string& part :
         {std::string("exchange of wagons"), concat("rank ", world.rank(), " of ", world.size()),
          concat("receive of 10 bytes from rank ", late, ", tag 7"),
          std::string("parallel.deadline_seconds")}) {
        SY_REQUIRE(text.find(part) != std::string::npos, "'", part, "' is not in: ", text);
    }
    finish(*world.send({}, late, 8));
    finish(*requests[0]);
    require_pattern(bytes, late, 7);
}

constexpr ConformanceCase kCases[] = {
    {"communicator: messages of any size arrive whole", messages_of_any_size},
    {"communicator: an empty message is matched like any other", empty_message_is_matched},
    {"communicator: messages with equal tags arrive in the order sent", equal_tags_arrive_in_order},
    {"communicator: tags do not mix, in whichever order they are received", tags_do_not_mix},
    {"communicator: a rank sends to itself", a_rank_sends_to_itself},
    {"communicator: many messages can be outstanding", many_messages_outstanding},
    {"communicator: a message of another size than expected is refused", another_size_is_refused},
    {"communicator: test never blocks, and stays true", test_never_blocks},
    {"communicator: peers and tags that cannot be are refused", wrong_peers_and_tags_are_refused},
    {"communicator: split orders by key, then by rank", split_orders_by_key_then_rank},
    {"communicator: messages of different communicators do not mix", communicators_do_not_mix},
    {"communicator: parts are split again", parts_are_split_again},
    {"communicator: every rank is on one node", nodes_part_the_world},
    {"communicator: a closed communicator refuses to be used", closed_communicators_refuse},
};

constexpr ConformanceCase kDeadlineCases[] = {
    {"communicator: a rank that comes late is named when the deadline passes, and can still come",
     late_message_is_named},
};

}  // namespace

std::span<const ConformanceCase> communicator_cases() {
    return kCases;
}

std::span<const ConformanceCase> deadline_cases() {
    return kDeadlineCases;
}

std::vector<ConformanceCase> all_cases() {
    std::vector<ConformanceCase> cases;
    for (const auto part : {communicator_cases(), collectives_cases(), reductions_cases(), exchange_cases(),
                            gradient_sync_cases(), shadow_sync_cases(), relocation_cases()})
        cases.insert(cases.end(), part.begin(), part.end());
    return cases;
}

}  // namespace sy::test
