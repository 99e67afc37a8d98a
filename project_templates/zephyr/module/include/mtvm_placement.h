/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the linker finds the weights. Comes before everything else in the module's own files.
 */
#ifndef MTVM_PLACEMENT_H
#define MTVM_PLACEMENT_H

#define MTVM_WEIGHTS __attribute__((section(".mtvm_weights"), aligned(4)))

#endif
