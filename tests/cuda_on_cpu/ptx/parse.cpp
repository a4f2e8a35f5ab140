#include "tests/cuda_on_cpu/ptx/reader.hpp"

// A module: its variables and functions.
namespace sy::emulation::ptx {
namespace {

class ModuleReader {
  public:
    ModuleReader(const std::vector<Token>& tokens, const std::string& name) : reader_(tokens, name) {
        // Files are named behind the functions that come from them.
        for (std::size_t i = 0; i + 2 < tokens.size(); ++i) {
            if (!tokens[i].is(".file") || tokens[i + 2].kind != Token::Kind::quoted) continue;
            module_->files.emplace_back(tokens[i + 2].text);
            files_[std::stoull(std::string(tokens[i + 1].text))] = module_->files.back().c_str();
        }
    }

    std::shared_ptr<const Module> read() {
        while (reader_.peek().kind != Token::Kind::end) read_directive();
        for (auto& [name, function] : module_->functions) {
            for (Instruction& each : function.code) {
                if (each.call == nullptr) continue;
                const auto callee = module_->functions.find(each.call->name);
                if (callee != module_->functions.end()) each.call->callee = &callee->second;
            }
        }
        return module_;
    }

  private:
    void read_directive() {
        const std::string_view directive = reader_.word();
        if (directive == ".version" || directive == ".address_size" || directive == ".target" ||
            directive == ".file") {
            reader_.skip_line();
        } else if (directive == ".section") {
            reader_.word();
            reader_.skip_braces();
        } else if (directive == ".pragma") {
            reader_.next();
            reader_.expect(";");
        } else if (directive == ".extern") {
            is_extern_ = true;
        } else if (directive == ".func" || directive == ".entry") {
            read_function(directive == ".entry");
            is_extern_ = false;
        } else if (directive == ".global" || directive == ".const" || directive == ".shared") {
            read_variable(directive);
            is_extern_ = false;
        } else if (directive != ".visible" && directive != ".weak" && directive != ".common") {
            reader_.fail(std::string(directive) + ", which is not interpreted");
        }
    }

    void read_function(bool is_kernel) {
        Function function;
        if (reader_.peek().is("(")) read_parameters(reader_, function, function.results);
        function.name = reader_.word();
        function.is_kernel = is_kernel;
        reader_.set_function(function.name);
        if (reader_.peek().is("(")) read_parameters(reader_, function, function.parameters);
        while (reader_.peek().text.starts_with('.')) read_bound(function);
        // Where it stays, as the places of its instructions point to its name.
        Function& kept = module_->functions[function.name] = std::move(function);
        if (!reader_.take(";")) {
            kept.is_defined = true;
            read_body(reader_, kept, symbols_, files_);
        }
        reader_.set_function("");
    }

    void read_bound(Function& function) {
        const std::string_view bound = reader_.word();
        if (bound == ".noreturn") return;
        std::uint64_t product = reader_.number();
        while (reader_.take(",")) product *= reader_.number();
        if (bound == ".maxntid" || bound == ".reqntid") {
            function.most_threads = unsigned(product);
        } else if (bound != ".minnctapersm" && bound != ".maxnreg") {
            reader_.fail(std::string(bound) + ", which is not interpreted");
        }
    }

    void read_variable(std::string_view space) {
        const Declaration declaration = read_declaration(reader_);
        Symbol symbol;
        if (space == ".shared") {
            if (!is_extern_) reader_.fail("a shared variable of a module, which is not interpreted");
            symbol.operand.value = kDynamicShared;
            symbol.is_dynamic_shared = true;
        } else {
            Variable& variable = module_->variables[declaration.name];
            variable.is_constant = space == ".const";
            variable.memory.resize(declaration.bytes);
            symbol.operand.value = reinterpret_cast<std::uint64_t>(variable.memory.data());
            if (reader_.take("=")) read_values(declaration, variable);
        }
        symbols_[declaration.name] = symbol;
        reader_.expect(";");
    }

    void read_values(const Declaration& declaration, Variable& variable) {
        const std::size_t element_bytes = std::size_t(declaration.type.bits) / 8;
        const bool is_list = reader_.take("{");
        std::size_t at = 0;
        do {
            const std::uint64_t value = read_value();
            for (std::size_t byte = 0; byte < element_bytes && at < variable.memory.size(); ++byte, ++at)
                variable.memory[at] = char(value >> (8 * byte));
        } while (is_list && reader_.take(","));
        if (is_list) reader_.expect("}");
    }

    /// A number, or the address of a variable.
    std::uint64_t read_value() {
        if (reader_.peek().is("-") || is_number(reader_.peek().text)) return reader_.number();
        const bool is_generic = reader_.take("generic");
        if (is_generic) reader_.expect("(");
        const auto found = symbols_.find(reader_.word());
        if (found == symbols_.end()) reader_.fail("the address of what is no variable");
        if (is_generic) reader_.expect(")");
        return found->second.operand.value + (reader_.take("+") ? reader_.number() : 0);
    }

    Reader reader_;
    std::shared_ptr<Module> module_ = std::make_shared<Module>();
    std::map<std::uint64_t, const char*> files_;
    Symbols symbols_;
    bool is_extern_ = false;
};

}  // namespace

std::shared_ptr<const Module> parse(std::string_view text, const std::string& name) {
    const std::vector<Token> tokens = tokens_of(text);
    return ModuleReader(tokens, name).read();
}

}  // namespace sy::emulation::ptx
