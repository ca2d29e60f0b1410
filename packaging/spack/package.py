# Copyright (c) the dn_dist authors
#
# SPDX-License-Identifier: BSD-2-Clause
"""In a Spack repository this file stands as packages/dn-dist/package.py. Until there is a release
to download, `spack dev-build dn-dist@main` builds the source in the current folder."""

import os

from spack.package import *


class DnDist(CMakePackage):
    """Trains DenseNets on the processors of a cluster, by MPI and OpenMP: the same weights, to the
    bit, on any number of ranks and threads."""

    version("main", branch="main")
    license("BSD-2-Clause")

    variant("tests", default=False, description="Build the tests")

    depends_on("c", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("help2man", type="build")
    depends_on("mpi@3:")
    depends_on("openblas threads=openmp")
    depends_on("hdf5@1.10.5:~mpi")
    depends_on("zstd")
    depends_on("hwloc@2:")
    depends_on("jansson")
    depends_on("inih")
    depends_on("xxhash@0.8:")
    depends_on("protobuf-c")
    depends_on("jpeg")
    depends_on("libpng")
    depends_on("zlib-api")
    depends_on("curl")
    depends_on("libarchive")
    depends_on("matio")
    depends_on("openssl")
    depends_on("cmocka", when="+tests")

    def cmake_args(self):
        # Spack has no package of Chart.js 3: DN_CHART_JS is the path of its chart.min.js.
        chart = os.environ.get("DN_CHART_JS", "/usr/share/javascript/chart.js/chart.min.js")
        return [
            self.define_from_variant("DN_TESTS", "tests"),
            self.define("DN_CHART_JS", chart),
        ]
