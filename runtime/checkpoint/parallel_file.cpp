// The one place of this folder that knows MPI: a file that all ranks of a world hold open together.
#include <mpi.h>

#include "comm/mpi/handle.hpp"
#include "runtime/checkpoint/hdf5_file.hpp"
#include "runtime/checkpoint/hdf5_handle.hpp"

namespace sy::runtime {

#ifdef H5_HAVE_PARALLEL

std::unique_ptr<Hdf5File> Hdf5File::create_together(const std::string& path, comm::Communicator& world) {
    const MPI_Comm handle = comm::mpi_handle(world);
    if (handle == MPI_COMM_NULL) return nullptr;
    const std::lock_guard lock(detail::hdf5_mutex());
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    const detail::Hdf5Handle access(detail::check_hdf5(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate", path, ""),
                                    H5Pclose);
    detail::check_hdf5(H5Pset_fapl_mpio(access.get(), handle, MPI_INFO_NULL), "H5Pset_fapl_mpio", path, "");
    detail::check_hdf5(H5Pset_all_coll_metadata_ops(access.get(), true), "H5Pset_all_coll_metadata_ops", path,
                       "");
    detail::check_hdf5(H5Pset_coll_metadata_write(access.get(), true), "H5Pset_coll_metadata_write", path,
                       "");
    return std::unique_ptr<Hdf5File>(new Hdf5File(path, access.get()));
}

Hdf5File::Hdf5File(const std::string& path, std::int64_t access_list)
    : path_(path),
      handle_(detail::check_hdf5(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access_list), "H5Fcreate",
                                 path, "")),
      transfer_(Transfer::collective) {}

#else

std::unique_ptr<Hdf5File> Hdf5File::create_together(const std::string&, comm::Communicator&) {
    return nullptr;
}

#endif

}  // namespace sy::runtime
