#include <optional>

#include "tests/cuda_on_cpu/ptx/opcode.hpp"
#include "tests/cuda_on_cpu/ptx/reader.hpp"
#include "tests/cuda_on_cpu/ptx/special_registers.hpp"

// The body of a function: declarations in scopes of braces, labels, instructions.
namespace sy::emulation::ptx {
namespace {

constexpr std::size_t kGapBytes = 16;  // between shared variables, so that an overrun is in none

class Body {
  public:
    Body(Reader& reader, Function& function, const Symbols& module_symbols,
         const std::map<std::uint64_t, const char*>& files)
        : reader_(reader), function_(function), module_symbols_(module_symbols), files_(files) {
        where_.file = function.name.c_str();
    }

    void read() {
        reader_.expect("{");
        scopes_.emplace_back();
        for (const std::vector<Piece>* pieces : {&function_.parameters, &function_.results}) {
            for (const Piece& each : *pieces) declare(each.name, Operand::Kind::parameters, each.offset);
        }
        while (!scopes_.empty()) read_statement();
        resolve_branches();
    }

  private:
    struct Branch {
        std::size_t instruction;
        std::string label;  ///< or the name of a table
    };

    void declare(const std::string& name, Operand::Kind kind, std::uint64_t value) {
        scopes_.back()[name] = {{kind, 0, value}};
    }

    void read_statement() {
        if (reader_.take("{")) {
            scopes_.emplace_back();
        } else if (reader_.take("}")) {
            scopes_.pop_back();
        } else if (reader_.peek(1).is(":")) {
            last_label_ = reader_.word();
            labels_[last_label_] = std::uint32_t(function_.code.size());
            reader_.expect(":");
        } else if (reader_.peek().text.starts_with('.')) {
            read_directive();
        } else {
            read_instruction();
        }
    }

    void read_directive() {
        const std::string_view directive = reader_.word();
        if (directive == ".loc") {
            const auto file = files_.find(reader_.number());
            if (file != files_.end()) where_ = {file->second, int(reader_.number())};
            reader_.skip_line();
            return;
        }
        if (directive == ".pragma") {
            reader_.next();
        } else if (directive == ".reg") {
            read_registers();
        } else if (directive == ".branchtargets") {
            do tables_[last_label_].emplace_back(reader_.word());
            while (reader_.take(","));
        } else {
            read_memory(directive);
        }
        reader_.expect(";");
    }

    /// `.b32 %r<12>` are %r0 to %r11.
    void read_registers() {
        reader_.word();  // the type
        do {
            const std::string name(reader_.word());
            std::uint64_t count = 1;
            const bool is_many = reader_.take("<");
            if (is_many) {
                count = reader_.number();
                reader_.expect(">");
            }
            for (std::uint64_t each = 0; each < count; ++each) {
                scopes_.back()[is_many ? name + std::to_string(each) : name] = {
                    {Operand::Kind::reg, function_.num_registers++, 0}};
            }
        } while (reader_.take(","));
    }

    void read_memory(std::string_view directive) {
        const Declaration variable = read_declaration(reader_);
        if (directive == ".local") {
            declare(variable.name, Operand::Kind::local, place(variable, function_.local_bytes));
        } else if (directive == ".param") {
            declare(variable.name, Operand::Kind::parameters, place(variable, function_.parameter_bytes));
        } else if (directive == ".shared" && function_.is_kernel) {
            const std::size_t offset = place(variable, function_.shared_bytes);
            function_.shared.push_back({variable.name, offset, variable.bytes});
            function_.shared_bytes += kGapBytes;
            declare(variable.name, Operand::Kind::number, offset);
        } else {
            reader_.fail(std::string(directive) + " of " + variable.name + ", which is not interpreted here");
        }
    }

    void read_instruction() {
        const char* first = reader_.peek().text.data();
        Instruction instruction;
        instruction.where = where_;
        if (reader_.take("@")) {
            instruction.guard_is_negated = reader_.take("!");
            const Operand guard = resolve(reader_.word());
            if (guard.kind != Operand::Kind::reg) reader_.fail("a guard that is no register");
            instruction.guard = int(guard.index);
        }
        const std::string_view word = reader_.word();
        const std::string_view name = word.substr(0, word.find('.'));
        if (name == "call") {
            read_call(instruction);
        } else if (name == "bra") {
            branches_.push_back({function_.code.size(), std::string(reader_.word())});
        } else {
            read_operands(instruction, name == "brx");
        }
        const char* last = reader_.peek().text.data();
        reader_.expect(";");
        for (const char* each = first; each != last; ++each) {
            const bool is_space = *each == '\t' || *each == '\n' || *each == ' ';
            if (!is_space) instruction.text += *each;
            if (is_space && !instruction.text.ends_with(' ')) instruction.text += ' ';
        }
        instruction.run = find_run(word, instruction);
        if (instruction.run == nullptr) reader_.fail("'" + instruction.text + "' is not interpreted");
        function_.code.push_back(std::move(instruction));
    }

    void read_operands(Instruction& instruction, bool ends_with_table) {
        while (!reader_.peek().is(";")) {
            if (reader_.take("{")) {
                instruction.first_has_lanes = instruction.num_operands == 0;
                instruction.num_lanes = 0;
                do {
                    add(instruction, read_operand());
                    ++instruction.num_lanes;
                } while (reader_.take(","));
                reader_.expect("}");
            } else if (reader_.take("[")) {
                add(instruction, read_operand());
                if (reader_.take("+")) instruction.offset = std::int64_t(reader_.number());
                reader_.expect("]");
            } else if (ends_with_table && instruction.num_operands == 1) {
                branches_.push_back({function_.code.size(), std::string(reader_.word())});
            } else {
                add(instruction, read_operand());
                if (reader_.take("|")) {
                    instruction.has_two_results = true;
                    add(instruction, read_operand());
                }
            }
            if (!reader_.take(",")) break;
        }
    }

    void add(Instruction& instruction, const Operand& operand) {
        if (instruction.num_operands == Instruction::kMostOperands) reader_.fail("too many operands");
        instruction.operands[instruction.num_operands++] = operand;
    }

    Operand read_operand() {
        if (reader_.peek().is("-") || is_number(reader_.peek().text)) {
            return {Operand::Kind::number, 0, reader_.number()};
        }
        const bool is_negated = reader_.take("!");
        Operand operand = resolve(reader_.word());
        if (is_negated && operand.kind != Operand::Kind::reg) reader_.fail("the opposite of no register");
        if (is_negated) operand.kind = Operand::Kind::negated;
        return operand;
    }

    Operand resolve(std::string_view name) {
        if (name == "_") return {Operand::Kind::sink, 0, 0};
        for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
            const auto found = scope->find(name);
            if (found != scope->end()) return found->second.operand;
        }
        if (name == "WARP_SZ") return {Operand::Kind::number, 0, 32};
        if (const auto special = find_special_register(name)) return {Operand::Kind::special, *special, 0};
        const auto found = module_symbols_.find(name);
        if (found == module_symbols_.end()) reader_.fail("unknown name " + std::string(name));
        if (found->second.is_dynamic_shared && !function_.is_kernel) {
            reader_.fail("dynamic shared memory in a function that is called");
        }
        function_.uses_dynamic_shared = function_.uses_dynamic_shared || found->second.is_dynamic_shared;
        return found->second.operand;
    }

    /// `call.uni (result), name, (argument, ...)`
    void read_call(Instruction& instruction) {
        instruction.call = std::make_unique<Call>();
        if (reader_.peek().is("(")) {
            read_list(instruction.call->results);
            reader_.expect(",");
        }
        instruction.call->name = reader_.word();
        if (instruction.call->name.starts_with('%'))
            reader_.fail("a call by a pointer, which is not interpreted");
        if (reader_.take(",")) read_list(instruction.call->arguments);
    }
    void read_list(std::vector<std::size_t>& offsets) {
        reader_.expect("(");
        while (!reader_.take(")")) {
            reader_.take(",");
            const Operand operand = resolve(reader_.word());
            if (operand.kind != Operand::Kind::parameters)
                reader_.fail("a call with an operand that is no .param");
            offsets.push_back(operand.value);
        }
    }

    void resolve_branches() {
        const auto target = [this](const std::string& label) {
            const auto found = labels_.find(label);
            if (found == labels_.end()) reader_.fail("a branch to " + label + ", which is nowhere");
            return found->second;
        };
        for (const Branch& branch : branches_) {
            std::vector<std::uint32_t>& targets = function_.code[branch.instruction].targets;
            const auto table = tables_.find(branch.label);
            if (table == tables_.end()) {
                targets.push_back(target(branch.label));
            } else {
                for (const std::string& each : table->second) targets.push_back(target(each));
            }
        }
    }

    Reader& reader_;
    Function& function_;
    const Symbols& module_symbols_;
    const std::map<std::uint64_t, const char*>& files_;
    std::vector<Symbols> scopes_;
    std::string last_label_;
    std::map<std::string, std::uint32_t> labels_;
    std::map<std::string, std::vector<std::string>> tables_;
    std::vector<Branch> branches_;
    Place where_;
};

}  // namespace

void read_body(Reader& reader, Function& function, const Symbols& module_symbols,
               const std::map<std::uint64_t, const char*>& files) {
    Body(reader, function, module_symbols, files).read();
}

}  // namespace sy::emulation::ptx
