# For find_package in the folder as it is: the model is compiled with the caller's toolchain.
include("${CMAKE_CURRENT_LIST_DIR}/cmake/model.cmake")
