#include <filesystem>
#include <iostream>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/cli/command_line.hpp"
#include "runtime/interchange/gguf/convert.hpp"
#include "runtime/interchange/hf_export.hpp"
#include "runtime/interchange/hf_import.hpp"

namespace sy::runtime {
namespace {

void print_notes(const std::vector<std::string>& notes) {
    for (const std::string& note : notes) std::cout << "note: " << note << "\n";
}

void export_to_hf(const Arguments& arguments) {
    HfExport options{.family = arguments.family};
    options.with_moments = arguments.with_moments;
    if (!arguments.dtype.empty()) options.storage = parse_storage(arguments.dtype);
    if (!arguments.shard_size.empty()) options.shard_bytes = parse_shard_size(arguments.shard_size);
    const HfExported done = export_hf(follow_latest(arguments.words[1]), arguments.words[2], options);
    print_notes(done.notes);
    std::cout << done.architecture << ": " << done.num_tensors << " tensors, " << done.num_parameters
              << " parameters, " << done.num_files << (done.num_files == 1 ? " file" : " files");
}

void export_to_gguf(const Arguments& arguments) {
    if (arguments.with_moments)
        throw ConfigError("checkpoint export --to gguf has no place for moments; leave --with-moments out");
    GgufExport options{.architecture = arguments.family};
    if (!arguments.dtype.empty()) options.storage = parse_storage(arguments.dtype);
    if (!arguments.shard_size.empty()) options.shard_bytes = parse_shard_size(arguments.shard_size);
    const GgufWritten done = export_gguf(follow_latest(arguments.words[1]), arguments.words[2], options);
    print_notes(done.notes);
    std::cout << "architecture " << done.architecture << " of llama.cpp";
    if (done.num_files > 1) std::cout << ", " << done.num_files << " files";
}

}  // namespace

int run_export(const Arguments& arguments) {
    if (arguments.format == "hf") {
        export_to_hf(arguments);
    } else if (arguments.format == "gguf") {
        export_to_gguf(arguments);
    } else {
        throw ConfigError(
            concat("checkpoint export: unknown format --to ", arguments.format, "; write hf or gguf"));
    }
    std::cout << ", written to " << arguments.words[2] << "\n";
    return 0;
}

int run_import(const Arguments& arguments) {
    const std::string& from = arguments.words[1];
    // What stands beside the checkpoint is named after it, without the slash that may end its name.
    const std::filesystem::path named = arguments.words[2];
    const std::string to = (named.has_filename() ? named : named.parent_path()).string();
    const TokenizerImport tokenizer =
        arguments.without_tokenizer ? TokenizerImport::leave_out : TokenizerImport::take_over;
    if (std::filesystem::is_directory(from)) {
        const HfImported done = import_hf(from, to, tokenizer);
        print_notes(done.notes);
        std::cout << done.architecture << ", ";
    } else {
        print_notes(import_gguf(from, to, tokenizer));
    }
    std::cout << "written to " << to << ", its settings to " << to
              << ".conf; go on with switchyard train --config " << to << ".conf --resume " << to << "\n";
    return 0;
}

}  // namespace sy::runtime
