#include "comm/ucx/wire.hpp"

#include <cstring>

#include "comm/collectives.hpp"
#include "comm/ucx/check.hpp"

namespace sy::comm::detail {
namespace {

UcxContext make_context(int num_ranks) {
    ucp_config_t* config = nullptr;
    SY_UCX(ucp_config_read(nullptr, nullptr, &config));
    ucp_params_t params{};
    params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS;
    params.features = UCP_FEATURE_RMA;
    params.estimated_num_eps = static_cast<std::size_t>(num_ranks);
    ucp_context_h context = nullptr;
    const ucs_status_t status = ucp_init(&params, config, &context);
    ucp_config_release(config);
    check_ucx(status, "ucp_init");
    return UcxContext(context);
}

UcxWorker make_worker(ucp_context* context) {
    ucp_worker_params_t params{};
    params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
    params.thread_mode = UCS_THREAD_MODE_SINGLE;
    ucp_worker_h worker = nullptr;
    SY_UCX(ucp_worker_create(context, &params, &worker));
    return UcxWorker(worker);
}

std::string address_of(ucp_worker* worker) {
    ucp_address_t* address = nullptr;
    std::size_t bytes = 0;
    SY_UCX(ucp_worker_get_address(worker, &address, &bytes));
    std::string text(reinterpret_cast<const char*>(address), bytes);
    ucp_worker_release_address(worker, address);
    return text;
}

RemoteKey unpack(ucp_ep_h endpoint, const void* key) {
    ucp_rkey_h unpacked = nullptr;
    SY_UCX(ucp_ep_rkey_unpack(endpoint, key, &unpacked));
    return RemoteKey(unpacked);
}

ucp_request_param_t no_options() {
    ucp_request_param_t params{};
    return params;
}

}  // namespace

Region::Region(ucp_context* context, index_t bytes) : context_(context), bytes_(bytes) {
    ucp_mem_map_params_t params{};
    params.field_mask = UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS;
    params.length = static_cast<std::size_t>(bytes);
    params.flags = UCP_MEM_MAP_ALLOCATE;
    register_memory(params);
}

Region::Region(ucp_context* context, std::span<std::byte> bytes)
    : context_(context), bytes_(static_cast<index_t>(bytes.size())) {
    ucp_mem_map_params_t params{};
    params.field_mask = UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_ADDRESS;
    params.address = bytes.data();
    params.length = bytes.size();
    register_memory(params);
}

void Region::register_memory(ucp_mem_map_params_t& params) {
    const ucs_status_t mapped = ucp_mem_map(context_, &params, &memory_);
    if (mapped != UCS_OK)
        throw CommError(
            concat("UCX: ucp_mem_map of ", bytes_, " bytes failed: ", ucs_status_string(mapped),
                   "; the limits on locked and shared memory (ulimit -l, /dev/shm) may be too low"));
    ucp_mem_attr_t attributes{};
    attributes.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS;
    void* packed = nullptr;
    std::size_t packed_bytes = 0;
    ucs_status_t status = ucp_mem_query(memory_, &attributes);
    if (status == UCS_OK) status = ucp_rkey_pack(context_, memory_, &packed, &packed_bytes);
    if (status != UCS_OK) {
        ucp_mem_unmap(context_, memory_);
        check_ucx(status, "ucp_rkey_pack");
    }
    data_ = static_cast<std::byte*>(attributes.address);
    key_.assign(static_cast<const char*>(packed), packed_bytes);
    ucp_rkey_buffer_release(packed);
}

Region::~Region() {
    ucp_mem_unmap(context_, memory_);
}

UcxOperation::UcxOperation(ucs_status_ptr_t started, const char* call) {
    if (UCS_PTR_IS_ERR(started)) check_ucx(UCS_PTR_STATUS(started), call);
    if (UCS_PTR_IS_PTR(started)) request_ = started;
}

bool UcxOperation::is_over() {
    if (request_ == nullptr) return true;
    const ucs_status_t status = ucp_request_check_status(request_);
    if (status == UCS_INPROGRESS) return false;
    ucp_request_free(std::exchange(request_, nullptr));
    check_ucx(status, "a put");
    return true;
}

Wire::Wire(Communicator& wire_up, const PerRank<int>& nodes, index_t window_bytes)
    : context_(make_context(wire_up.size())),
      worker_(make_worker(context_.get())),
      window_(std::make_unique<Region>(context_.get(), window_bytes)),
      links_(wire_up.size()) {
    std::memset(window_->data(), 0, static_cast<std::size_t>(window_bytes));
    const std::vector<std::string> addresses = all_gather(wire_up, address_of(worker_.get()));
    const std::vector<std::string> keys = all_gather(wire_up, window_->key());
    const auto mine = reinterpret_cast<std::uint64_t>(window_->data());
    const std::vector<std::uint64_t> windows = all_gather(wire_up, std::span<const std::uint64_t>(&mine, 1));
    for (int rank = 0; rank < wire_up.size(); ++rank) {
        const auto i = static_cast<std::size_t>(rank);
        links_[rank].address = addresses[i];
        links_[rank].packed_key = keys[i];
        links_[rank].window = windows[i];
        links_[rank].rank = rank;
        links_[rank].shares_memory = nodes[rank] == nodes[wire_up.rank()];
        links_[rank].wire = this;
    }
}

Wire::~Wire() {
    if (released_) return;
    for (Link& link : links_) static_cast<void>(link.key.release());
    static_cast<void>(window_.release());
    static_cast<void>(worker_.release());
    static_cast<void>(context_.release());
}

void Wire::note_failure(void* link, ucp_ep_h, ucs_status_t status) {
    Link& failed = *static_cast<Link*>(link);
    failed.failure = concat("rank ", failed.rank, " cannot be reached any more: ", ucs_status_string(status),
                            "; its process has ended, or the network to its host is cut");
    failed.wire->failed_rank_ = failed.rank;
}

Wire::Link& Wire::link(int rank) {
    Link& link = links_[rank];
    if (!link.failure.empty()) throw CommError(link.failure);
    if (link.endpoint != nullptr) return link;
    ucp_ep_params_t params{};
    params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                        UCP_EP_PARAM_FIELD_ERR_HANDLER;
    params.address = reinterpret_cast<const ucp_address_t*>(link.address.data());
    // Transports through shared memory do not notice that a peer has died; where that is asked for, UCX 1.13 would go
    // through sockets instead. The deadline notices.
    params.err_mode = link.shares_memory ? UCP_ERR_HANDLING_MODE_NONE : UCP_ERR_HANDLING_MODE_PEER;
    params.err_handler = {&note_failure, &link};
    const ucs_status_t status = ucp_ep_create(worker_.get(), &params, &link.endpoint);
    if (status != UCS_OK)
        throw CommError(concat("UCX: cannot connect to rank ", rank, ": ", ucs_status_string(status),
                               "; do UCX_TLS and UCX_NET_DEVICES allow a transport between the two hosts?"));
    link.key = unpack(link.endpoint, link.packed_key.data());
    return link;
}

UcxOperation Wire::put(int rank, std::span<const std::byte> bytes, index_t window_offset) {
    const Link& to = link(rank);
    return put(rank, bytes, to.window + static_cast<std::uint64_t>(window_offset), to.key.get());
}

UcxOperation Wire::put(int rank, std::span<const std::byte> bytes, std::uint64_t address, ucp_rkey* key) {
    const ucp_request_param_t params = no_options();
    return {ucp_put_nbx(link(rank).endpoint, bytes.data(), bytes.size(), address, key, &params),
            "ucp_put_nbx"};
}

void Wire::fence() {
    SY_UCX(ucp_worker_fence(worker_.get()));
}

UcxOperation Wire::flush(int rank) {
    const ucp_request_param_t params = no_options();
    return {ucp_ep_flush_nbx(link(rank).endpoint, &params), "ucp_ep_flush_nbx"};
}

UcxOperation Wire::flush_all() {
    const ucp_request_param_t params = no_options();
    return {ucp_worker_flush_nbx(worker_.get(), &params), "ucp_worker_flush_nbx"};
}

RemoteKey Wire::unpack_key(int rank, const std::byte* key) {
    return unpack(link(rank).endpoint, key);
}

}  // namespace sy::comm::detail
