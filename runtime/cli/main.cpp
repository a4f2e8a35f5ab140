#include "runtime/cli/command_line.hpp"

int main(int argc, char** argv) {
    return sy::runtime::run_command_line({argv, static_cast<std::size_t>(argc)});
}
