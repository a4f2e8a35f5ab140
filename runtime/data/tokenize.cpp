#include "runtime/data/tokenize.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>

#include "kernels/core/ordered_work.hpp"
#include "runtime/data/text_pieces.hpp"
#include "runtime/json/json.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// Bytes of text at work or waiting, a thread.
constexpr index_t kBytesAhead = index_t{4} << 20;

/// What a worker makes of a piece.
struct Ids {
    struct Part {
        bool begins_document = false;
        std::size_t end = 0;  ///< of its ids
        index_t num_bytes = 0;
    };
    std::vector<std::int32_t> ids;
    std::vector<Part> parts;
};

/// A piece on its way.
struct Ticket {
    std::size_t input = 0;
    TextPlace end;
    bool is_last = false;
    index_t num_bytes = 0;
};

[[noreturn]] void refuse_encoding(const std::string& path, const TextPiece& piece) {
    std::size_t place = 0;
    for (;;) {
        const std::size_t length = character_bytes(piece.text, place);
        if (length == 0) break;
        place += length;
    }
    const auto begin = piece.text.begin();
    const index_t line =
        piece.begin.line + std::count(begin, begin + static_cast<std::ptrdiff_t>(place), '\n');
    throw IoError(
        concat(path, ":", line, ": byte ", piece.begin.offset + static_cast<index_t>(place), " of the file, ",
               escaped(piece.text.substr(place, 1)),
               ", belongs to no UTF-8 character; convert the file to UTF-8, for example with iconv"));
}

Ids encode_text(const Tokenizer& tokenizer, const TokenizeRequest& request, const TextPiece& piece) {
    Ids result;
    result.ids = tokenizer.encode(piece.text);
    if (piece.is_last && request.end_of_text) result.ids.push_back(*request.end_of_text);
    result.parts.push_back(
        {piece.begin.offset == 0, result.ids.size(), static_cast<index_t>(piece.text.size())});
    return result;
}

/// The document in a line. @throws IoError saying what is wrong with it
std::string document_of(std::string_view line, const std::string& field) {
    const Json value = Json::parse(line);
    const Json* const text = value.find(field);
    if (text == nullptr)
        throw IoError(
            concat("it is no object with the field \"", field, "\"; name another with --jsonl-field"));
    return text->as_string();
}

Ids encode_lines(const Tokenizer& tokenizer, const TokenizeRequest& request, const std::string& path,
                 const TextPiece& piece) {
    Ids result;
    index_t number = piece.begin.line;
    for (std::string_view left = piece.text; !left.empty(); ++number) {
        const std::string_view line = left.substr(0, left.find('\n'));
        left.remove_prefix(std::min(left.size(), line.size() + 1));
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
        std::string text;
        try {
            text = document_of(line, request.json_field);
        } catch (const IoError& error) {
            throw IoError(
                concat(path, ":", number, ": this line of JSON lines cannot be read: ", error.what()));
        }
        const std::vector<std::int32_t> ids = tokenizer.encode(text);
        result.ids.insert(result.ids.end(), ids.begin(), ids.end());
        if (request.end_of_text) result.ids.push_back(*request.end_of_text);
        result.parts.push_back({true, result.ids.size(), static_cast<index_t>(text.size())});
    }
    return result;
}

Ids encode_piece(const Tokenizer& tokenizer, const TokenizeRequest& request, const std::string& path,
                 const TextPiece& piece) {
    if (!is_utf8(piece.text)) refuse_encoding(path, piece);
    return is_json_lines(path) ? encode_lines(tokenizer, request, path, piece)
                               : encode_text(tokenizer, request, piece);
}

/// The request as text. Files that have changed since make it another one.
std::string describe(const TokenizeRequest& request) {
    Json::Array inputs;
    for (const std::string& path : request.inputs) {
        inputs.push_back(Json::Object{{"path", fs::absolute(path).lexically_normal().string()},
                                      {"bytes", fs::file_size(path)},
                                      {"changed", fs::last_write_time(path).time_since_epoch().count()}});
    }
    Json text = Json::Object{
        {"inputs", std::move(inputs)}, {"tokenizer", request.tokenizer}, {"field", request.json_field}};
    if (request.end_of_text) text["end_of_text"] = *request.end_of_text;
    return text.text();
}

/// Where the work stands.
struct Position {
    std::size_t input = 0;
    TextPlace place;

    std::string text() const {
        return Json(Json::Object{{"input", input}, {"offset", place.offset}, {"line", place.line}}).text();
    }
};

Position parse_position(const std::string& text, std::size_t num_inputs) {
    if (text.empty()) return {};
    const Json value = Json::parse(text);
    const Position position{static_cast<std::size_t>(value.at("input").as_natural()),
                            {value.at("offset").as_whole(), value.at("line").as_whole()}};
    if (position.input > num_inputs || position.place.offset < 0)
        throw IoError("the position that a killed run has left is impossible; remove what it left");
    return position;
}

/// Gives the pieces of all inputs, one after the other.
class Inputs {
  public:
    Inputs(const TokenizeRequest& request, Position begin) : paths_(request.inputs), next_(begin) {
        for (const std::string& path : paths_) {
            bytes_before_.push_back(num_bytes_);
            num_bytes_ += TextFile(path).num_bytes();
        }
        bytes_before_.push_back(num_bytes_);
    }

    index_t num_bytes() const { return num_bytes_; }
    index_t bytes_before(const Position& position) const {
        return bytes_before_[position.input] + position.place.offset;
    }
    bool at_end() const { return next_.input == paths_.size(); }
    const std::string& path() const { return paths_[next_.input]; }

    /// @pre not at_end(); `ticket` gets which piece it is
    TextPiece next(const Tokenizer& tokenizer, Ticket& ticket) {
        if (!reader_)
            reader_ = std::make_unique<PieceReader>(
                path(), is_json_lines(path()) ? InputKind::json_lines : InputKind::text, next_.place);
        TextPiece piece = reader_->next(tokenizer);
        ticket = {next_.input, piece.end, piece.is_last, static_cast<index_t>(piece.text.size())};
        if (piece.is_last) {
            reader_.reset();
            next_ = {next_.input + 1, {}};
        }
        return piece;
    }

  private:
    const std::vector<std::string>& paths_;
    std::vector<index_t> bytes_before_;
    index_t num_bytes_ = 0;
    Position next_;
    std::unique_ptr<PieceReader> reader_;
};

void write_ids(const Ids& result, TokenFileWriter& writer) {
    std::size_t begin = 0;
    for (const Ids::Part& part : result.parts) {
        if (part.begins_document) writer.begin_document();
        writer.append(std::span(result.ids).subspan(begin, part.end - begin), part.num_bytes);
        begin = part.end;
    }
}

class Tokenization {
  public:
    Tokenization(const Tokenizer& tokenizer, const TokenizeRequest& request, TokenFileWriter& writer)
        : tokenizer_(tokenizer),
          request_(request),
          writer_(writer),
          done_(parse_position(writer.position(), request.inputs.size())),
          inputs_(request, done_),
          work_(request.threads) {}

    index_t bytes_done() const { return inputs_.bytes_before(done_); }

    void run(const std::function<void(const TokenizeProgress&)>& progress) {
        const std::chrono::duration<double> commit_every(request_.commit_every);
        auto committed = Clock::now();
        while (give_pieces(), !tickets_.empty()) {
            write_ids(take(), writer_);
            if (Clock::now() - committed >= commit_every) {
                writer_.commit(done_.text());
                committed = Clock::now();
            }
            progress({bytes_done(), inputs_.num_bytes(), writer_.num_tokens(), writer_.num_documents()});
        }
    }

  private:
    /// Runs what reads inputs. What is wrong with them will be wrong the next time: nothing is left to continue from.
    template <class Body>
    auto reading(const Body& body) {
        try {
            return body();
        } catch (const IoError&) {
            writer_.discard();
            throw;
        }
    }

    void give_pieces() {
        while (!inputs_.at_end() && (tickets_.empty() || bytes_ahead_ < kBytesAhead * request_.threads)) {
            const std::string& path = inputs_.path();
            Ticket ticket;
            auto piece =
                std::make_shared<const TextPiece>(reading([&] { return inputs_.next(tokenizer_, ticket); }));
            bytes_ahead_ += ticket.num_bytes;
            tickets_.push_back(ticket);
            // The job must be copyable, and keeps the piece as long as it is there.
            work_.give([this, &path, piece] { return encode_piece(tokenizer_, request_, path, *piece); });
        }
    }

    Ids take() {
        Ids result = reading([this] { return work_.take(); });
        const Ticket ticket = tickets_.front();
        tickets_.pop_front();
        bytes_ahead_ -= ticket.num_bytes;
        done_ = ticket.is_last ? Position{ticket.input + 1, {}} : Position{ticket.input, ticket.end};
        return result;
    }

    const Tokenizer& tokenizer_;
    const TokenizeRequest& request_;
    TokenFileWriter& writer_;
    Position done_;  ///< what is written
    Inputs inputs_;
    std::deque<Ticket> tickets_;  ///< of pieces at work
    index_t bytes_ahead_ = 0;
    OrderedWork<Ids> work_;
};

}  // namespace

bool is_json_lines(const std::string& path) {
    return path.ends_with(".jsonl") || path.ends_with(".ndjson");
}

Tokenized tokenize_files(const Tokenizer& tokenizer, const TokenizeRequest& request,
                         const std::function<void(const TokenizeProgress&)>& progress) {
    std::string problems;
    for (const std::string& path : request.inputs) {
        try {
            const TextFile file(path);
        } catch (const IoError& error) {
            problems += concat(problems.empty() ? "" : "\n", error.what());
        }
    }
    if (!problems.empty()) throw IoError(problems);
    TokenFileWriter writer(request.out, {request.tokenizer, tokenizer.vocab_size(), request.end_of_text},
                           describe(request));
    Tokenization work(tokenizer, request, writer);
    const index_t continued_at = work.bytes_done();
    work.run(progress);
    writer.finish();
    return {writer.num_tokens(), writer.num_documents(), continued_at};
}

}  // namespace sy::runtime
