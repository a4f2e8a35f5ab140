#include "runtime/interchange/hf_moments.hpp"

#include <algorithm>

namespace sy::runtime {
namespace {

using Source = ForeignPart::Source;

bool is_weight(const ForeignPart& part) {
    return part.source == Source::weight;
}

ForeignTensor moment_of(const ForeignTensor& weight, Kind kind) {
    ForeignTensor moment = weight;
    moment.name += kind == Kind::m ? ".exp_avg" : ".exp_avg_sq";
    moment.keep_f32 = true;
    for (ForeignPart& part : moment.parts) {
        part.addend = 0.0F;
        if (!is_weight(part)) {
            part.source = Source::unused;
            continue;
        }
        part.kind = kind;
        part.factor = 1.0F / (kind == Kind::m ? part.factor : part.factor * part.factor);
    }
    return moment;
}

}  // namespace

ForeignModel moments_of(const ForeignModel& weights) {
    ForeignModel moments;
    for (const ForeignTensor& weight : weights.tensors) {
        if (std::ranges::none_of(weight.parts, is_weight)) continue;
        for (const Kind kind : {Kind::m, Kind::v}) moments.tensors.push_back(moment_of(weight, kind));
    }
    return moments;
}

}  // namespace sy::runtime
