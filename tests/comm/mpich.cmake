# SPDX-License-Identifier: Apache-2.0
# The mpi tests once more with MPICH: only the files with mpi.h are compiled again, and one program linked. (All of
# dltrain with MPICH: cmake -DMPI_EXECUTABLE_SUFFIX=.mpich.)
find_program(MPICH_EXEC mpiexec.mpich)
find_path(MPICH_INCLUDE_DIR mpi.h PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/mpich NO_DEFAULT_PATH)
find_library(MPICH_LIBRARY mpich)
if(NOT MPICH_EXEC OR NOT MPICH_INCLUDE_DIR OR NOT MPICH_LIBRARY)
  message(STATUS "no tests with MPICH: apt-get install mpich libmpich-dev")
  return()
endif()
if(MPI_C_LIBRARIES MATCHES "mpich")
  return()  # they all are
endif()

set(comm_backend "${PROJECT_SOURCE_DIR}/src/comm/backend")
add_library(dltrain_comm_mpich OBJECT ${comm_backend}/mpi.cpp ${comm_backend}/mpi_shared.cpp)
target_include_directories(dltrain_comm_mpich PRIVATE "${PROJECT_SOURCE_DIR}/src")
target_include_directories(dltrain_comm_mpich SYSTEM PRIVATE ${MPICH_INCLUDE_DIR})
target_compile_definitions(dltrain_comm_mpich PRIVATE MPICH_SKIP_MPICXX)
target_link_libraries(dltrain_comm_mpich PRIVATE dltrain_flags)

# Archives by their files, not by their targets, which would bring the other MPI along. What the objects define is not
# taken from dltrain_comm's archive.
add_executable(comm_mpich_test $<TARGET_OBJECTS:comm_mpi_test> $<TARGET_OBJECTS:dltrain_comm_mpich>)
set_target_properties(comm_mpich_test PROPERTIES LINKER_LANGUAGE CXX)
foreach(folder ddp comm tensor observe base)
  target_link_libraries(comm_mpich_test PRIVATE $<TARGET_FILE:dltrain_${folder}>)
  add_dependencies(comm_mpich_test dltrain_${folder})
endforeach()
target_link_libraries(comm_mpich_test PRIVATE dltrain_flags GTest::gtest GTest::gmock OpenSSL::Crypto fmt::fmt
  Threads::Threads ${MPICH_LIBRARY})
foreach(n 1 2 3 4)
  add_test(NAME comm_mpich_test.ranks${n} COMMAND ${MPICH_EXEC} -n ${n} $<TARGET_FILE:comm_mpich_test>)
  set_tests_properties(comm_mpich_test.ranks${n} PROPERTIES LABELS mpi TIMEOUT 300 PROCESSORS 2
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
endforeach()
