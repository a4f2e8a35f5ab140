// How the doctor presents what it found.
#include <catch2/catch.hpp>

#include "comm/mpi/mpi_inspection.hpp"
#include "runtime/cli/doctor_text.hpp"

using namespace sy;
using namespace sy::runtime;

TEST_CASE("doctor: values stand in one column, and further lines below the first", "[unit]") {
    const std::vector<Finding> findings{{"MPI", "3.1"}, {"processor", "2 cores\nAVX2"}, {"UCX", "none"}};
    CHECK(findings_text(findings) ==
          "MPI        3.1\n"
          "processor  2 cores\n"
          "           AVX2\n"
          "UCX        none\n");
    CHECK(findings_text({}).empty());
}

TEST_CASE("doctor: runs of numbers are joined", "[unit]") {
    CHECK(ranges_text(std::vector<int>{}).empty());
    CHECK(ranges_text(std::vector<int>{4}) == "4");
    CHECK(ranges_text(std::vector<int>{0, 1}) == "0 1");
    CHECK(ranges_text(std::vector<int>{0, 1, 2, 5, 7, 8, 10, 11, 12}) == "0-2 5 7 8 10-12");
}

TEST_CASE("doctor: ranks are listed by node, and those that share processors together", "[unit]") {
    const std::vector<RankPlace> places{
        {0, "a", "0-1"}, {1, "b", "0"}, {0, "a", "0-1"}, {1, "b", "1"}, {0, "a", "2"}};
    CHECK(ranks_text(places) ==
          "node 0, a: ranks 0 2 4\n"
          "  ranks 0 2 on hardware threads 0-1\n"
          "  rank 4 on hardware threads 2\n"
          "node 1, b: ranks 1 3\n"
          "  rank 1 on hardware threads 0\n"
          "  rank 3 on hardware threads 1");
}

TEST_CASE("doctor: the chosen value of a Linux setting", "[unit]") {
    CHECK(chosen_setting("always [madvise] never") == "madvise");
    CHECK(chosen_setting("[always] madvise never") == "always");
    CHECK(chosen_setting("") == "not known");
    CHECK(chosen_setting("always madvise") == "not known");
}

TEST_CASE("doctor: what carries MPI's messages is said only when it is known", "[unit]") {
    using comm::messaging_text;
    using comm::MpiState;
    CHECK(messaging_text({{"ucx"}, "ucx"}, MpiState::started) == "UCX (pml = ucx)");
    CHECK(messaging_text({{"ob1"}, "^ucx"}, MpiState::started) == "ob1, without UCX (pml = ^ucx)");
    CHECK(messaging_text({{"ob1"}, ""}, MpiState::not_started) ==
          "not known: chosen when MPI starts, among ob1");
    CHECK(messaging_text({{"ob1", "ucx"}, ""}, MpiState::started) == "not known: one of ob1 ucx");
    CHECK(messaging_text({{}, ""}, MpiState::started) == "not known: this library does not tell");
}
