// The library of cuDNN is opened where it is found, so that the module of CUDA serves without it.
#include "kernels/cuda/cudnn_functions.hpp"
#include "kernels/cuda/library_functions.hpp"

namespace sy::cuda {

CudnnFunctions load_cudnn_functions() {
    CudnnFunctions found;
    const OpenLibrary library("cuDNN", concat("libcudnn.so.", CUDNN_MAJOR),
                              "it is older than 9: put a newer one on LD_LIBRARY_PATH");
    found.missing = library.missing();
    if (!found.missing.empty()) return found;
    library.look_up("cudnnGetVersion", found.get_version);
    library.look_up("cudnnGetErrorString", found.get_error_string);
    library.look_up("cudnnGetLastErrorString", found.get_last_error_string);
    library.look_up("cudnnBackendCreateDescriptor", found.create_descriptor);
    library.look_up("cudnnBackendDestroyDescriptor", found.destroy_descriptor);
    library.look_up("cudnnBackendSetAttribute", found.set_attribute);
    library.look_up("cudnnBackendGetAttribute", found.get_attribute);
    library.look_up("cudnnBackendFinalize", found.finalize);
    found.place = library.place_of(found.get_version);
    return found;
}

}  // namespace sy::cuda
