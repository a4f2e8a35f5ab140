#pragma once

#include "runtime/interchange/hf_family.hpp"

/// The model classes; hf_families() joins them.
namespace sy::runtime::hf {

extern const HfFamily kBert;
extern const HfFamily kBloom;
extern const HfFamily kDbrx;
extern const HfFamily kDeepseekV2;
extern const HfFamily kDeepseekV3;
extern const HfFamily kGemma2;
extern const HfFamily kGlm4Moe;
extern const HfFamily kGpt2;
extern const HfFamily kGrok;
extern const HfFamily kGrok1;
extern const HfFamily kGptJ;
extern const HfFamily kLlama;
extern const HfFamily kMistral;
extern const HfFamily kMixtral;
extern const HfFamily kOlmoe;
extern const HfFamily kOpt;
extern const HfFamily kQwen2Moe;
extern const HfFamily kQwen3Moe;
extern const HfFamily kSwitch;
extern const HfFamily kT5;

}  // namespace sy::runtime::hf
