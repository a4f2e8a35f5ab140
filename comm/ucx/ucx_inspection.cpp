#include "comm/ucx/ucx_inspection.hpp"

#include <ucp/api/ucp.h>
#include <uct/api/uct.h>

#include <memory>

#include "comm/ucx/check.hpp"

namespace sy::comm {
namespace {

struct CloseDomain {
    void operator()(uct_md* domain) const { uct_md_close(domain); }
};

/// Null when the domain does not open.
std::unique_ptr<uct_md, CloseDomain> open_domain(uct_component_h component, const char* name) {
    uct_md_config_t* config = nullptr;
    SY_UCX(uct_md_config_read(component, nullptr, nullptr, &config));
    uct_md_h domain = nullptr;
    const ucs_status_t status = uct_md_open(component, name, config, &domain);
    uct_config_release(config);
    return std::unique_ptr<uct_md, CloseDomain>(status == UCS_OK ? domain : nullptr);
}

std::vector<uct_md_resource_desc_t> domains_of(uct_component_h component) {
    uct_component_attr_t attributes{};
    attributes.field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCE_COUNT;
    SY_UCX(uct_component_query(component, &attributes));
    std::vector<uct_md_resource_desc_t> domains(attributes.md_resource_count);
    attributes.field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCES;
    attributes.md_resources = domains.data();
    SY_UCX(uct_component_query(component, &attributes));
    return domains;
}

void add_transports(uct_component_h component, std::vector<std::string>& names) {
    for (const uct_md_resource_desc_t& description : domains_of(component)) {
        const auto domain = open_domain(component, description.md_name);
        if (domain == nullptr) continue;
        uct_tl_resource_desc_t* resources = nullptr;
        unsigned num_resources = 0;
        SY_UCX(uct_md_query_tl_resources(domain.get(), &resources, &num_resources));
        const std::unique_ptr<uct_tl_resource_desc_t, decltype(&uct_release_tl_resource_list)> owner(
            resources, uct_release_tl_resource_list);
        for (unsigned i = 0; i < num_resources; ++i)
            names.push_back(concat(resources[i].tl_name, "/", resources[i].dev_name));
    }
}

}  // namespace

std::string ucx_version() {
    unsigned major = 0;
    unsigned minor = 0;
    unsigned release = 0;
    ucp_get_version(&major, &minor, &release);
    return concat(major, ".", minor, ".", release);
}

std::vector<std::string> ucx_transports() {
    uct_component_h* components = nullptr;
    unsigned num_components = 0;
    SY_UCX(uct_query_components(&components, &num_components));
    const std::unique_ptr<uct_component_h, decltype(&uct_release_component_list)> owner(
        components, uct_release_component_list);
    std::vector<std::string> names;
    for (unsigned i = 0; i < num_components; ++i) add_transports(components[i], names);
    return names;
}

}  // namespace sy::comm
