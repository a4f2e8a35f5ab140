#pragma once

#include "model/config.hpp"

namespace sy::model {

/// The first T5 (arXiv:1910.10683) in some size; the Switch Transformers start from it too.
ModelConfig t5_model(index_t hidden, index_t layers, index_t heads, index_t head_dim, index_t ffn_width);

}  // namespace sy::model
