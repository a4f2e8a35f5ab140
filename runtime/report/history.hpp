#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "kernels/core/types.hpp"

/// What the metrics of finished and broken runs say: read back, summed up, laid side by side.
namespace sy::runtime {

/// One step as metrics.jsonl has it; NaN where it has nothing or a number that was not finite.
struct StepPoint {
    index_t step = 0;
    double token_loss = 0.0;  ///< nats a token
    double gradient_norm = 0.0;
    double load = 0.0;       ///< highest load of an expert over the mean, worst layer; NaN without mixtures
    double dropped = 0.0;    ///< share of the choices; NaN without mixtures
    double logsumexp = 0.0;  ///< of the routers' logits, root mean square; NaN unless balance.z_loss is on
    index_t tokens = 0;
    double seconds = 0.0;
    bool has_targets = true;  ///< false: no row had a target, so that there is no loss
};

struct ValidationPoint {
    index_t step = 0;
    double bits_per_byte = 0.0;
};

/// One run, each step once, in order of steps.
struct RunHistory {
    std::vector<StepPoint> steps;
    std::vector<ValidationPoint> validations;
    bool finished = false;     ///< it reached train.steps
    index_t unread_lines = 0;  ///< of metrics.jsonl that are no records
};

/// Reads folder/metrics.jsonl. Of a step that is there twice, the later line counts; lines that are no records,
/// as a killed run leaves one, are counted and passed over.
/// @throws IoError when there is no such file, or no line of it is a record
RunHistory read_history(const std::filesystem::path& folder);

}  // namespace sy::runtime
