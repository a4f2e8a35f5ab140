#include "comm/shared/unit_memory.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "comm/shared/shared_segment.hpp"
#include "kernels/core/arena.hpp"

namespace sy::comm {
namespace {

constexpr index_t kSlabBytes = index_t{1} << 20;
constexpr index_t kPage = 4096;

/// Nobody is so many phases ahead of a member that still looks: it arrives twice at most before it waits for that member.
constexpr std::size_t kPhases = 4;

/// What a member tells the others: in a cache line of its own, as it changes all the time.
struct alignas(64) Place {
    std::atomic<std::uint64_t> phase;
    /// Bytes in use on arrival at a phase, by its number modulo kPhases.
    std::array<std::atomic<index_t>, kPhases> used;
    std::atomic<std::uint64_t>
        failed;  ///< the phase that this member came to without its share of new memory
};

/// The first message to a member: the name of the places, or why there are none.
struct Invitation {
    std::array<char, 64> name{};
    std::array<char, 448> problem{};
};

template <std::size_t Size>
void set_text(std::array<char, Size>& to, const std::string& text) {
    std::memcpy(to.data(), text.data(), std::min(text.size(), Size - 1));
}

}  // namespace

struct UnitMemory::Shared {
    explicit Shared(UnitMemory& memory)
        : arena(kSlabBytes, [&memory](index_t bytes) { return memory.map_slab(bytes); }) {}

    std::string name;
    std::size_t member = 0;
    std::shared_ptr<SharedSegment> control;
    std::span<Place> places;
    std::vector<std::shared_ptr<SharedSegment>>
        slabs;                   // Second owners: ranks that are threads of this process.
    index_t reserved_bytes = 0;  ///< by this member
    Arena arena;
};

namespace {

/// The members that have not arrived, as something to wait for.
class Arrival : public Request {
  public:
    Arrival(Communicator& group, std::span<const Place> places, std::span<const int> members,
            std::uint64_t phase)
        : group_(group), places_(places), members_(members), phase_(phase) {}

    bool test() override {
        while (next_ < places_.size() && places_[next_].phase.load(std::memory_order_acquire) >= phase_)
            ++next_;
        if (next_ == places_.size()) return true;
        // Messages of this rank may be what the others wait for.
        group_.poll();
        return false;
    }
    std::string description() const override {
        std::string text = "ranks that share this node's memory:";
        for (std::size_t i = 0; i < places_.size(); ++i)
            if (places_[i].phase.load() < phase_) text += concat(" ", members_[i]);
        return text;
    }

  private:
    Communicator& group_;
    std::span<const Place> places_;
    std::span<const int> members_;
    std::uint64_t phase_;
    std::size_t next_ = 0;
};

}  // namespace

UnitMemory::UnitMemory(Communicator& group, const Units& units, const RowMemory& own)
    : group_(group), own_(own) {
    const std::span<const int> members = units.members_of(units.unit_of(group.rank()));
    members_.assign(members.begin(), members.end());
    if (members_.size() == 1) return;
    shared_ = std::make_unique<Shared>(*this);
    shared_->member = static_cast<std::size_t>(units.member_number(group.rank()));
    constexpr int kTag = 0;
    const auto bytes = static_cast<index_t>(sizeof(Place) * members_.size());
    Invitation invitation;
    std::vector<std::unique_ptr<Request>> requests;
    if (shared_->member == 0) {
        shared_->name = SharedSegment::new_name();
        try {
            shared_->control = SharedSegment::create(shared_->name, bytes);
            shared_->control->reserve({0, bytes});
            shared_->reserved_bytes = round_up(bytes, kPage);
            set_text(invitation.name, shared_->name);
        } catch (const IoError& error) {
            set_text(invitation.problem, error.what());
        }
        for (std::size_t i = 1; i < members_.size(); ++i)
            requests.push_back(group.send(std::as_bytes(std::span(&invitation, 1)), members_[i], kTag));
    } else {
        requests.push_back(
            group.receive(std::as_writable_bytes(std::span(&invitation, 1)), members_[0], kTag));
    }
    wait_all(group, requests, "invitation to shared memory");
    if (invitation.problem[0] != '\0')
        throw IoError(concat("rank ", members_[0], " of this node: ", invitation.problem.data()));
    shared_->name = invitation.name.data();
    if (shared_->member != 0) shared_->control = SharedSegment::open(shared_->name, bytes);
    // All zero: every place begins at phase 0.
    shared_->places = {reinterpret_cast<Place*>(shared_->control->data()), members_.size()};
    meet("shared memory of a node");
    shared_->control->unlink();
}

UnitMemory::~UnitMemory() = default;

Tensor UnitMemory::allocate(DType dtype, Shape shape) {
    return shared_ ? Tensor(shared_->arena, dtype, shape) : own_.tensor(dtype, shape);
}

Buffer UnitMemory::allocate(index_t bytes) {
    return shared_ ? shared_->arena.allocate(bytes) : own_.buffer(bytes);
}

index_t UnitMemory::reserved_bytes() const {
    return shared_ ? shared_->reserved_bytes : 0;
}

UnitMemory::Phase UnitMemory::arrive() {
    ++phase_;
    if (shared_) {
        Place& place = shared_->places[shared_->member];
        place.used[phase_ % kPhases].store(shared_->arena.used_bytes(), std::memory_order_relaxed);
        place.phase.store(phase_, std::memory_order_release);
    }
    return phase_;
}

void UnitMemory::wait(Phase phase, const char* doing) {
    if (!shared_) return;
    std::vector<std::unique_ptr<Request>> arrival;
    arrival.push_back(std::make_unique<Arrival>(group_, shared_->places, members_, phase));
    wait_all(group_, arrival, doing);
    if (phase != phase_) return;
    const index_t used =
        shared_->places[shared_->member].used[phase % kPhases].load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < members_.size(); ++i) {
        const index_t theirs = shared_->places[i].used[phase % kPhases].load(std::memory_order_relaxed);
        SY_REQUIRE(theirs == used, doing, ": rank ", members_[i], " uses ", theirs,
                   " bytes of this node's memory, rank ", group_.rank(), " ", used,
                   "; they have not allocated alike");
    }
}

/// Every member takes a share of the pages, so that they are near its processor and are cleared by all cores.
std::byte* UnitMemory::map_slab(index_t bytes) {
    const std::string name = concat(shared_->name, "-", shared_->slabs.size());
    const index_t rounded = round_up(bytes, kPage);
    Place& place = shared_->places[shared_->member];
    std::shared_ptr<SharedSegment> segment;
    std::string problem;
    const auto attempt = [&](const auto& body) {
        try {
            if (problem.empty()) body();
        } catch (const IoError& error) {
            problem = error.what();
            place.failed.store(phase_ + 1);
        }
        meet("new memory of a node");
        for (std::size_t i = 0; i < members_.size(); ++i) {
            if (shared_->places[i].failed.load() != phase_) continue;
            throw IoError(problem.empty()
                              ? concat("rank ", members_[i], " of this node had no room for its share of ",
                                       bytes, " bytes of shared memory; its message says why")
                              : problem);
        }
    };
    attempt([&] {
        if (shared_->member == 0) segment = SharedSegment::create(name, rounded);
    });
    attempt([&] {
        if (shared_->member != 0) segment = SharedSegment::open(name, rounded);
        const Range pages =
            part_of(rounded / kPage, std::ssize(members_), static_cast<index_t>(shared_->member));
        segment->reserve({pages.begin * kPage, pages.end * kPage});
        shared_->reserved_bytes += pages.size() * kPage;
    });
    segment->unlink();
    shared_->slabs.push_back(std::move(segment));
    return shared_->slabs.back()->data();
}

}  // namespace sy::comm
