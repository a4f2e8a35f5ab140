"""ReFrame's settings for this machine, without a scheduler: ranks by Open MPI's mpirun. A cluster has its own."""
site_configuration = {
    "systems": [
        {
            "name": "here",
            "descr": "this machine",
            "hostnames": [".*"],
            "partitions": [
                {
                    "name": "cores",
                    "scheduler": "local",
                    "launcher": "mpirun",
                    "environs": ["compilers"],
                    # Tests that are timed run one after the other.
                    "max_jobs": 1,
                    "env_vars": [
                        ["OMPI_MCA_rmaps_base_oversubscribe", "1"],
                        ["OMPI_MCA_hwloc_base_binding_policy", "none"],
                        ["OMPI_MCA_mpi_yield_when_idle", "1"],
                        ["OMPI_ALLOW_RUN_AS_ROOT", "1"],
                        ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"],
                    ],
                }
            ],
        }
    ],
    "environments": [{"name": "compilers", "cc": "cc", "cxx": "c++", "ftn": ""}],
}
