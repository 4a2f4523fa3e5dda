# SPDX-License-Identifier: MIT
cpdef grow(int fd, long long size, bint reserve, bint alone=*)
