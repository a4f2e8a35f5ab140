#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/cuda/module.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "tests/support/fenced_device.hpp"
#include "tests/unit/kernels/operation_cases.hpp"

namespace sy::test {
namespace {

std::vector<OperationCase::Piece> run_on(Device& device, const NamedCase& named) {
    const Context context{device, device.compute()};
    OperationCase on(context);
    named.run(on);
    return on.pieces();
}

bool is_all_zero(const OperationCase::Piece& piece) {
    return std::ranges::all_of(piece.bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

/// Whether the system may read there for this process: a signal would end it.
bool is_readable(const std::byte* address) {
    std::array<int, 2> ends{};
    SY_REQUIRE(pipe(ends.data()) == 0, "no pipe");
    const bool readable = write(ends[1], address, 1) == 1;
    const bool refused = !readable && errno == EFAULT;
    close(ends[0]);
    close(ends[1]);
    SY_REQUIRE(readable || refused, "write failed for another reason");
    return readable;
}

/// The signal that ends a process which does this; 0: none does.
template <class Work>
int signal_of(const Work& work) {
    const pid_t child = fork();
    SY_REQUIRE(child >= 0, "no child process");
    if (child == 0) {
        // Neither Catch nor a sanitizer is to take it for its own.
        std::signal(SIGSEGV, SIG_DFL);
        work();
        _exit(0);
    }
    int status = 0;
    SY_REQUIRE(waitpid(child, &status, 0) == child, "the child process is lost");
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

class DeviceWithout : public CpuDevice {
  public:
    explicit DeviceWithout(const ops::Bodies& bodies)
        : CpuDevice(1, {"half a device", bodies, 4096, {}, {}, {}}) {}
};

}  // namespace

TEST_CASE("device: all operations without a body are named at once", "[unit]") {
    ops::Bodies bodies = ops::kCpuBodies;
    bodies.norm = nullptr;
    bodies.list_takers = nullptr;
    REQUIRE_THROWS_WITH(DeviceWithout(bodies), Catch::Contains("half a device") &&
                                                   Catch::Contains("no body for norm, list_takers;"));
}

TEST_CASE("device: a GPU without the module of CUDA is refused, with where that was looked for", "[unit]") {
    setenv("SWITCHYARD_CUDA_MODULE", "/nowhere/module.so", 1);
    CHECK_THROWS_WITH(make_cuda_device(0),
                      Catch::Contains("-DSY_WITH_CUDA=ON") && Catch::Contains("/nowhere/module.so"));
    unsetenv("SWITCHYARD_CUDA_MODULE");
    // Another one's symbol is not there.
    setenv("SWITCHYARD_CUDA_MODULE", "libc.so.6", 1);
    CHECK_THROWS_WITH(make_cuda_device(0), Catch::Contains("not one of this program"));
    unsetenv("SWITCHYARD_CUDA_MODULE");
}

TEST_CASE("device: every operation gives the same on the processor and behind a fence, whenever it is done",
          "[unit]") {
    for (const Turns turns : {Turns::at_once, Turns::oldest, Turns::youngest, Turns::drawn}) {
        FencedDevice fenced(turns, 2);
        for (const NamedCase& named : operation_cases()) {
            INFO(named.name);
            CpuDevice processor(1);
            const std::vector<OperationCase::Piece> expected = run_on(processor, named);
            REQUIRE_FALSE(std::ranges::all_of(expected, is_all_zero));
            REQUIRE((run_on(fenced, named) == expected));
        }
        CHECK(fenced.uncalled() == std::vector<std::string>{});
    }
}

TEST_CASE("fenced device: the host reaches its memory while a body uses it, and at no other time", "[unit]") {
    FencedDevice device;
    const Context context{device, device.compute()};
    Tensor tensor(device, DType::f32, {2, 3});
    const std::byte* const address = std::as_const(tensor).raw().data();
    CHECK_FALSE(is_readable(address));
    ops::fill(2.5F, tensor, context);
    CHECK_FALSE(is_readable(address));
    device.queue(context.stream, [&] { CHECK(is_readable(address)); });
    const HostValues read(HostRead::step, {tensor, {}}, context);
    CHECK_FALSE(is_readable(address));
    CHECK(std::ranges::count(host_values<const float>(read[0]), 2.5F) == 6);
    CHECK(read[1].is_null());
}

TEST_CASE("fenced device: a host that reads behind its back ends there", "[unit]") {
    FencedDevice device;
    const Context context{device, device.compute()};
    Tensor tensor(device, DType::f32, {2, 3});
    ops::fill(2.5F, tensor, context);
    volatile float seen = 0.0F;
    const auto see = [&](ConstTensorRef values) { seen = host_values<const float>(values)[0]; };
    CHECK(signal_of([&] { see(tensor); }) == SIGSEGV);
    CHECK(signal_of([&] { see(HostValues(HostRead::step, {tensor}, context)[0]); }) == 0);
    // The same between two operations, of which either may reach it.
    CHECK(signal_of([&] {
              ops::scale(2.0F, tensor, context);
              see(tensor);
              ops::scale(2.0F, tensor, context);
          }) == SIGSEGV);
}

TEST_CASE("fenced device: nothing is done before it is waited for", "[unit]") {
    FencedDevice device(GENERATE(Turns::oldest, Turns::youngest, Turns::drawn));
    std::vector<int> done;
    const auto queue = [&](Stream& stream, int number) {
        device.queue(stream, [&done, number] { done.push_back(number); });
    };
    queue(device.compute(), 1);
    queue(device.compute(), 2);
    const Event two = device.compute().record();
    queue(device.compute(), 3);
    device.transfer().wait(two);
    queue(device.transfer(), 4);
    CHECK(done.empty());
    device.transfer().synchronise(std::chrono::minutes(1));
    device.compute().synchronise(std::chrono::minutes(1));
    const auto place = [&](int number) { return std::ranges::find(done, number) - done.begin(); };
    REQUIRE(done.size() == 4);
    CHECK(place(1) < place(2));
    CHECK(place(2) < place(3));
    CHECK(place(2) < place(4));
}

TEST_CASE("fenced device: a wait for what does not come ends", "[unit]") {
    FencedDevice device(Turns::oldest);
    device.transfer().wait({&device.compute(), 1});
    CHECK_THROWS_AS(device.transfer().synchronise(std::chrono::minutes(1)), TimeoutError);
}

TEST_CASE("device: reads of the host are counted by purpose, values read together once", "[unit]") {
    CpuDevice device(1);
    const Context context{device, device.compute()};
    Tensor tensor(device, DType::i32, {2, 3});
    const HostValues read(HostRead::choices, {tensor, tensor.ref().rows_of({1, 2})}, context);
    CHECK(device.num_reads(HostRead::choices) == 1);
    CHECK(device.num_reads(HostRead::step) == 0);
    // Nothing is copied where the host can read.
    CHECK(read[0] == ConstTensorRef(tensor.ref()));
}

}  // namespace sy::test
