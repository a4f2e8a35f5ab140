#include "runtime/interchange/gguf.hpp"

#include <utility>

#include "runtime/checkpoint/output_file.hpp"
#include "runtime/checkpoint/regular_file.hpp"

namespace sy::runtime {

struct GgufWriter::State {
    detail::NewFile file;
    gguf::Header header;
    std::size_t tensor_idx = 0;
    index_t tensor_bytes = 0;  ///< of the tensor at tensor_idx, that were appended

    State(const std::filesystem::path& path, gguf::Header what) : file(path), header(std::move(what)) {}

    void pad(index_t bytes) {
        const std::vector<std::byte> zeros(
            static_cast<std::size_t>(round_up(bytes, header.alignment) - bytes));
        file.append(zeros);
    }
};

GgufWriter::GgufWriter(const std::filesystem::path& path, gguf::Header header) {
    const std::string text = gguf::write_header(header);
    state_ = std::make_unique<State>(path, std::move(header));
    state_->file.append(std::as_bytes(std::span(text)));
}

GgufWriter::~GgufWriter() = default;

void GgufWriter::append(std::string_view tensor, std::span<const std::byte> bytes) {
    State& state = *state_;
    SY_REQUIRE(state.tensor_idx < state.header.tensors.size(), "GGUF: no tensor is left for ", tensor);
    const gguf::Tensor& next = state.header.tensors[state.tensor_idx];
    const auto size = static_cast<index_t>(bytes.size());
    SY_REQUIRE(next.name == tensor, "GGUF: ", tensor, " out of turn, next is ", next.name);
    SY_REQUIRE(size <= next.bytes() - state.tensor_bytes, "GGUF: ", tensor, " of ", next.bytes(),
               " bytes has ", state.tensor_bytes, " and gets ", size);
    state.file.append(bytes);
    state.tensor_bytes += size;
    if (state.tensor_bytes < next.bytes()) return;
    state.pad(next.bytes());
    ++state.tensor_idx;
    state.tensor_bytes = 0;
}

void GgufWriter::finish() {
    SY_REQUIRE(state_->tensor_idx == state_->header.tensors.size(),
               "GGUF: ", state_->header.tensors.size() - state_->tensor_idx, " tensors were not written");
    state_->file.finish();
}

struct GgufReader::State {
    detail::RegularFile file;
    gguf::ParsedHeader parsed;

    explicit State(const std::filesystem::path& path)
        : file(path, detail::Links::followed),
          parsed(gguf::parse_header(
              [this](index_t offset, std::span<std::byte> bytes) { file.read(offset, bytes); }, file.bytes(),
              path.string())) {}
};

GgufReader::GgufReader(const std::filesystem::path& path) : state_(std::make_unique<State>(path)) {}

GgufReader::~GgufReader() = default;

const gguf::Header& GgufReader::header() const {
    return state_->parsed.header;
}

void GgufReader::read(const gguf::Tensor& tensor, index_t first, std::span<float> values) const {
    const auto num_values = static_cast<index_t>(values.size());
    SY_REQUIRE(first >= 0 && first + num_values <= tensor.shape.num_elements(), "GGUF: values ", first,
               " to ", first + num_values, " of ", tensor.name, " ", tensor.shape.to_string());
    const index_t begin = state_->parsed.data_begin + tensor.offset + storage_bytes(tensor.storage, first);
    if (tensor.storage == Storage::f32) {
        state_->file.read(begin, std::as_writable_bytes(values));
        return;
    }
    std::vector<std::byte> bytes(static_cast<std::size_t>(storage_bytes(tensor.storage, num_values)));
    state_->file.read(begin, bytes);
    decode(tensor.storage, bytes, values);
}

}  // namespace sy::runtime
