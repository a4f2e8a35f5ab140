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

    static constexpr std::uint64_t kVarint = 0;
    static constexpr std::uint64_t kEightBytes = 1;
    static constexpr std::uint64_t kText = 2;
    static constexpr std::uint64_t kFourBytes = 5;

  private:
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
        if (field.number() == 2) model.characters_map = field.text();
        if (field.number() == 3) model.add_dummy_prefix = field.flag();
        if (field.number() == 4) model.remove_extra_whitespaces = field.flag();
        if (field.number() == 5) model.escape_whitespaces = field.flag();
    }
}

/// Collects the fields of a message.
class MessageText {
  public:
    void text(std::uint64_t number, std::string_view value) {
        varint(number << 3 | Message::kText);
        varint(value.size());
        bytes_ += value;
    }
    void whole(std::uint64_t number, std::int64_t value) {
        varint(number << 3 | Message::kVarint);
        varint(static_cast<std::uint64_t>(value));
    }
    void real(std::uint64_t number, float value) {
        varint(number << 3 | Message::kFourBytes);
        char raw[sizeof(value)];
        std::memcpy(raw, &value, sizeof(value));
        bytes_.append(raw, sizeof(value));
    }
    const std::string& bytes() const { return bytes_; }

  private:
    void varint(std::uint64_t value) {
        for (; value >= 0x80U; value >>= 7U) bytes_.push_back(static_cast<char>(value | 0x80U));
        bytes_.push_back(static_cast<char>(value));
    }

    std::string bytes_;
};

/// The library knows the tokens that begin, end and fill a text by their pieces.
struct Special {
    std::int64_t id;
    std::uint64_t id_field;
    std::uint64_t piece_field;
};

std::string trainer_text(const SentencePieceModel& model) {
    std::int64_t unknown = 0;
    while (unknown < std::ssize(model.pieces) - 1 &&
           model.pieces[static_cast<std::size_t>(unknown)].type != SentencePieceModel::Type::unknown)
        ++unknown;
    MessageText trainer;
    trainer.whole(3, static_cast<std::int64_t>(model.algorithm));
    trainer.whole(24, model.whitespace_as_suffix ? 1 : 0);
    trainer.whole(35, model.byte_fallback ? 1 : 0);
    for (const Special& special : {Special{unknown, 40, 45}, Special{model.begin_of_text, 41, 46},
                                   Special{model.end_of_text, 42, 47}, Special{model.padding, 43, 48}}) {
        trainer.whole(special.id_field, special.id);
        if (special.id >= 0)
            trainer.text(special.piece_field, model.pieces[static_cast<std::size_t>(special.id)].text);
    }
    return trainer.bytes();
}

std::string normalizer_text(const SentencePieceModel& model) {
    MessageText normalizer;
    normalizer.text(1, model.characters_map.empty() ? "identity" : "user_defined");
    normalizer.text(2, model.characters_map);
    normalizer.whole(3, model.add_dummy_prefix ? 1 : 0);
    normalizer.whole(4, model.remove_extra_whitespaces ? 1 : 0);
    normalizer.whole(5, model.escape_whitespaces ? 1 : 0);
    return normalizer.bytes();
}

}  // namespace

std::string write_sentencepiece_model(const SentencePieceModel& model) {
    MessageText whole;
    for (const SentencePieceModel::Piece& piece : model.pieces) {
        MessageText text;
        text.text(1, piece.text);
        text.real(2, piece.score);
        text.whole(3, static_cast<std::int64_t>(piece.type));
        whole.text(1, text.bytes());
    }
    whole.text(2, trainer_text(model));
    whole.text(3, normalizer_text(model));
    return whole.bytes();
}

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
