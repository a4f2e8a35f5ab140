#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/types.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {

/// Reads a config.json strictly: whatever is not asked for is a problem, as it may change results.
class ConfigKeys {
  public:
    /// @param object    the file, or an object in it; borrowed
    /// @param problems  gets a sentence for each key that is missing, of another type, not expressible or unknown
    ConfigKeys(const Json& object, std::vector<std::string>& problems);

    /// A key that has to be there. A null counts as missing.
    index_t whole(std::string_view name);
    double number(std::string_view name);
    /// A key with the value that readers take when it is missing.
    index_t whole(std::string_view name, index_t otherwise);
    double number(std::string_view name, double otherwise);
    bool flag(std::string_view name, bool otherwise);
    std::string text(std::string_view name, const std::string& otherwise);
    /// A list of whole numbers; empty where it is missing.
    std::vector<index_t> list(std::string_view name);
    /// A list of texts; empty where it is missing.
    std::vector<std::string> texts(std::string_view name);
    /// An object, or null where it is missing.
    const Json* object(std::string_view name);

    bool has(std::string_view name) const;
    /// The keys of an object in this one.
    ConfigKeys inside(const Json& object) const { return {object, problems_}; }
    /// A key that, where it is there, must have this value: no other can be expressed here.
    void only(std::string_view name, const Json& value);
    /// Keys that change no result.
    void ignore(std::initializer_list<std::string_view> names);
    /// Those of them that configs of all classes have.
    void ignore_usual();
    void problem(const std::string& text) { problems_.push_back("config.json: " + text); }
    /// Names the keys that nothing has asked for.
    void finish();

  private:
    const Json* find(std::string_view name);
    template <class T, class Read>
    T read(std::string_view name, const char* expected, T otherwise, const Read& read);

    const Json& object_;
    std::vector<std::string>& problems_;
    std::set<std::string, std::less<>> seen_;
};

}  // namespace sy::runtime
