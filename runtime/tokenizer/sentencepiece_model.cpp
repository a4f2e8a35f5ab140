#include "runtime/tokenizer/sentencepiece_model.hpp"

#include <cstring>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

/// Goes through the fields of a message.
class Message {
  public:
    explicit Message(std::string_view bytes) : bytes_(bytes) {}

    /// Moves to the next field. @return false at the end @throws IoError where it is cut short
    bool next() {
        if (place_ == bytes_.size()) return false;
        const std::uint64_t key = varint();
        number_ = key >> 3;
        kind_ = key & 7;
        text_ = {};
        value_ = 0;
        switch (kind_) {
            case kVarint:
                value_ = varint();
                break;
            case kEightBytes:
                text_ = take(8);
                break;
            case kText:
                text_ = take(varint());
                break;
            case kFourBytes:
                text_ = take(4);
                break;
            default:
                throw IoError(
                    concat("field ", number_, " at byte ", place_, " is of an unknown kind, ", kind_));
        }
        return true;
    }
    std::uint64_t number() const { return number_; }

    /// The value of the field. @throws IoError where it is of another kind
    std::string_view text() const {
        expect(kText);
        return text_;
    }
    std::int64_t whole() const {
        expect(kVarint);
        return static_cast<std::int64_t>(value_);
    }
    bool flag() const { return whole() != 0; }
    float real() const {
        expect(kFourBytes);
        float value = 0.0F;
        std::memcpy(&value, text_.data(), sizeof(value));
        return value;
    }

  private:
    static constexpr std::uint64_t kVarint = 0;
    static constexpr std::uint64_t kEightBytes = 1;
    static constexpr std::uint64_t kText = 2;
    static constexpr std::uint64_t kFourBytes = 5;

    void expect(std::uint64_t kind) const {
        if (kind_ != kind)
            throw IoError(concat("field ", number_, " is of the kind ", kind_, ", expected ", kind));
    }
    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const auto byte = static_cast<unsigned char>(take(1)[0]);
            value |= std::uint64_t{byte & 0x7fU} << shift;
            if ((byte & 0x80U) == 0) return value;
        }
        throw IoError(concat("a number at byte ", place_, " has more than 64 bits"));
    }
    std::string_view take(std::uint64_t size) {
        if (size > bytes_.size() - place_) throw IoError(concat("it is cut short at byte ", place_));
        const std::string_view taken = bytes_.substr(place_, size);
        place_ += size;
        return taken;
    }

    std::string_view bytes_;
    std::size_t place_ = 0;
    std::uint64_t number_ = 0;
    std::uint64_t kind_ = 0;
    std::uint64_t value_ = 0;
    std::string_view text_;
};

SentencePieceModel::Piece read_piece(std::string_view bytes) {
    SentencePieceModel::Piece piece;
    for (Message field(bytes); field.next();) {
        if (field.number() == 1) piece.text = field.text();
        if (field.number() == 2) piece.score = field.real();
        if (field.number() == 3) piece.type = static_cast<SentencePieceModel::Type>(field.whole());
    }
    if (piece.type < SentencePieceModel::Type::normal || piece.type > SentencePieceModel::Type::byte)
        throw IoError(concat("a piece is of the unknown type ", static_cast<int>(piece.type)));
    return piece;
}

void read_trainer(std::string_view bytes, SentencePieceModel& model) {
    for (Message field(bytes); field.next();) {
        if (field.number() == 3) model.algorithm = static_cast<SentencePieceModel::Algorithm>(field.whole());
        if (field.number() == 24) model.whitespace_as_suffix = field.flag();
        if (field.number() == 35) model.byte_fallback = field.flag();
        if (field.number() == 41) model.begin_of_text = field.whole();
        if (field.number() == 42) model.end_of_text = field.whole();
        if (field.number() == 43) model.padding = field.whole();
    }
}

void read_normalizer(std::string_view bytes, SentencePieceModel& model) {
    for (Message field(bytes); field.next();) {
        if (field.number() == 2 || field.number() == 6)
            model.normalizes = model.normalizes || !field.text().empty();
        if (field.number() == 3) model.add_dummy_prefix = field.flag();
        if (field.number() == 4) model.remove_extra_whitespaces = field.flag();
        if (field.number() == 5) model.escape_whitespaces = field.flag();
    }
}

}  // namespace

SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& name) {
    SentencePieceModel model;
    try {
        for (Message field(bytes); field.next();) {
            if (field.number() == 1) model.pieces.push_back(read_piece(field.text()));
            if (field.number() == 2) read_trainer(field.text(), model);
            if (field.number() == 3) read_normalizer(field.text(), model);
        }
        if (model.pieces.empty()) throw IoError("it has no pieces");
        for (std::int64_t* const id : {&model.begin_of_text, &model.end_of_text, &model.padding})
            if (*id >= static_cast<std::int64_t>(model.pieces.size()))
                throw IoError(concat("there is no piece ", *id));
    } catch (const IoError& error) {
        throw IoError(concat(name, " is no model of SentencePiece: ", error.what()));
    }
    return model;
}

}  // namespace sy::runtime
