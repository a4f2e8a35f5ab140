from spack.package import *


class Switchyard(CMakePackage):
    """Trains, evaluates and runs Mixture-of-Experts transformers with expert parallelism on MPI clusters."""

    # The sources are the tree that holds this file: `develop` in spack.yaml names it, and nothing is fetched.
    homepage = "file:///usr/share/doc/switchyard"
    has_code = True

    license("Apache-2.0")

    version("main", branch="main")

    variant("ucx", default=False, description="The communicator over UCX")
    variant("sentencepiece", default=False, description="Reads tokenizers in SentencePiece's format")
    variant("cuda", default=False, description="Bodies of the operations for GPUs")
    conflicts("+cuda", msg="no run uses the CUDA bodies of this version yet")
    conflicts("%gcc@:11", msg="C++20 as GCC 12 accepts it")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.23:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi@3.1:")
    depends_on("hdf5+mpi")
    depends_on("boost@1.75:+program_options+json+container")
    depends_on("random123")
    depends_on("hwloc")
    depends_on("xxhash")
    depends_on("openssl")
    depends_on("pcre2@10.40:")
    depends_on("utf8proc")
    depends_on("sentencepiece", when="+sentencepiece")
    depends_on("ucx", when="+ucx")
    depends_on("catch2@2", type="test")

    generator("ninja")

    def cmake_args(self):
        return [
            self.define_from_variant("SY_WITH_UCX", "ucx"),
            self.define_from_variant("SY_WITH_CUDA", "cuda"),
            self.define("SY_BUILD_TESTS", self.run_tests),
        ]
